"""`python -m serve_app.run CONFIG.yaml`: Segue in the foreground, as `make run` and service managers start it.

This process supervises: `serve run` works below it, in a process session of its own, so that a signal to a
terminal's process group reaches the supervisor alone. SIGTERM, SIGINT and SIGHUP, however often, are one stop: jobs
go back to the queue, then every process that was started ends. The exit status is 0 after such a stop, 1 after a
failure.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import yaml

from deployments.temporary import temporary_root
from serve_app import preflight
from serve_app.http import proxy
from serve_app.launch.descendants import Descendants, end_with_parent

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOP_S = 45.0
"""The longest that a stop waits for replicas; jobs are back in the queue long before."""
BROKEN_STOP_S = 3.0
"""The same without Ray's daemons, where nothing is left that could stop replicas."""
ENDING_S = 5.0
"""What is left of Ray after that has this long to end by itself."""
POLL_S = 0.2
DAEMONS = ("raylet", "gcs_server")


def say(line: str) -> None:
    print(line, flush=True)


class Supervisor:
    """Runs `command` until it ends, a stop signal arrives, or one of Ray's daemons below it dies.

    `is_ready` is polled until it is true, then `ready_line` is printed. With `parent`, the pid of the parent at
    the start, another parent is a stop signal too. `console` is the file that takes the command's output, if it
    does not go to the terminal. The command is given `--report-to FD`, a pipe: its lines are printed, and one
    that begins with "failed: " ends the run.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        is_ready: Callable[[], bool],
        ready_line: str,
        parent: int | None = None,
        console: Path | None = None,
        daemons: Iterable[str] = DAEMONS,
        stop_s: float = STOP_S,
        broken_stop_s: float = BROKEN_STOP_S,
        ending_s: float = ENDING_S,
    ) -> None:
        self._command = command
        self._is_ready = is_ready
        self._ready_line = ready_line
        self._parent = parent
        self._console = console
        self._daemons = frozenset(daemons)
        self._stop_s = stop_s
        self._broken_stop_s = broken_stop_s
        self._ending_s = ending_s
        self._signals: list[int] = []
        self._descendants = Descendants()

    def run(self) -> int:
        """The exit status. To be called in the main thread."""
        for number in STOP_SIGNALS:
            # `nohup` ignores SIGHUP on purpose; a shell's background job ignores SIGINT by habit.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._take_signal)
        self._descendants.adopt_orphans()
        reports, report_to = os.pipe()
        os.set_blocking(reports, False)
        output = self._console.open("ab") if self._console is not None else None
        try:
            child = subprocess.Popen(
                [*self._command, "--report-to", str(report_to)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[report_to],
                # In the child: SIGINT as a terminal's program has it, and a stop if the supervisor is killed.
                preexec_fn=end_with_parent,
            )
        finally:
            os.close(report_to)
            if output is not None:
                output.close()
        self._descendants.leave_status_of(child.pid)
        try:
            return self._watch(child, reports)
        finally:
            self._descendants.kill()
            child.wait()
            os.close(reports)
            for (
                number
            ) in STOP_SIGNALS:  # at its exit the interpreter would give up handlers, and a late one kill it
                signal.signal(number, signal.SIG_IGN)

    def _take_signal(self, number: int, frame: object) -> None:
        self._signals.append(number)

    def _watch(self, child: subprocess.Popen[bytes], reports: int) -> int:
        ready = False
        lines = Lines(reports)
        seen: dict[int, str] = {}
        while True:
            if self._signals or (self._parent is not None and os.getppid() != self._parent):
                say("Stopping: running jobs go back to the queue.")
                if self._stop(child, self._stop_s):
                    say("Segue has stopped.")
                    return 0
                return self._fail(f"Segue did not stop within {self._stop_s:g} s and was killed.")
            status = child.poll()
            for line in lines.read():
                say(line)
                if line.startswith("failed: "):
                    self._stop(child, self._stop_s)
                    return self._fail("Segue could not be started.")
            if status is not None:
                return self._fail(f"Ray Serve has ended by itself, with status {status}.")
            alive = self._descendants.names()
            lost = [name for pid, name in seen.items() if alive.get(pid) != name]
            if lost:
                self._stop(child, self._broken_stop_s)
                return self._fail(
                    f"Ray's {lost[0]} has died, so Segue ends. The next start takes its jobs up again."
                )
            seen = {pid: name for pid, name in alive.items() if name in self._daemons}
            if not ready and self._is_ready():
                ready = True
                say(self._ready_line)
            time.sleep(POLL_S)

    def _stop(self, child: subprocess.Popen[bytes], timeout_s: float) -> bool:
        """Send one SIGINT, on which `serve run` shuts its replicas down; a second one would cut that short.
        False if it had to be killed after `timeout_s`."""
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        until_s = time.monotonic() + timeout_s
        while child.poll() is None:
            if time.monotonic() > until_s:
                self._descendants.kill()
                return False
            time.sleep(POLL_S)
        self._descendants.wait(self._ending_s)
        return True

    def _fail(self, line: str) -> int:
        print(line, file=sys.stderr)
        if self._console is not None:
            print(f"What it printed is in {self._console}", file=sys.stderr, flush=True)
        return 1


class Lines:
    """Whole lines of a non-blocking pipe, as they come."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._rest = b""

    def read(self) -> list[str]:
        """Those that have come since the last call; no line that has no end yet."""
        with suppress(BlockingIOError):
            while data := os.read(self._pipe, 65536):
                self._rest += data
        *whole, self._rest = self._rest.split(b"\n")
        return [line.decode(errors="replace") for line in whole]


def address_of(config: Path) -> str:
    """`http://host:port` under which this machine reaches the proxy of a deploy file. Serve's own defaults hold
    where the file names none."""
    options = yaml.safe_load(config.read_text()).get("http_options") or {}
    host, port = str(options.get("host", "127.0.0.1")), int(options.get("port", 8000))
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    return f"http://{reached}:{port}"


def answers_ready(address: str) -> bool:
    """Whether `/readyz` answers 200."""
    try:
        with urlopen(Request(f"{address}/readyz"), timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, HTTPException, OSError):
        return False


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serve_app.run", description="Run Segue until it is stopped."
    )
    parser.add_argument("config", type=Path, help="a deploy file: configs/local.yaml, serve_config.yaml")
    parser.add_argument("--verbose", action="store_true", help="show the logs of Ray and of every replica")
    parser.add_argument("--end-with-parent", action="store_true", help="stop when the parent process ends")
    options = parser.parse_args()
    parent = os.getppid() if options.end_with_parent else None
    sys.argv = ["serve_app.preflight", str(options.config)]
    try:
        status = preflight.main()
    except KeyboardInterrupt:
        return 130
    if status != 0:
        return status
    address = address_of(options.config)
    console = None
    if not options.verbose:
        console = temporary_root().own_folder() / "console.log"
        os.environ["RAY_LOG_TO_DRIVER"] = "0"
    for name, value in proxy.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    supervisor = Supervisor(
        [sys.executable, "-m", "serve_app.launch.served_here", str(options.config)],
        is_ready=lambda: answers_ready(address),
        ready_line=f"Segue is ready on {address} (API: /docs)",
        parent=parent,
        console=console,
    )
    status = supervisor.run()
    if console is not None and status == 0:
        console.unlink(missing_ok=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
