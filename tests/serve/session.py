"""A program and all that it starts, told from everything else on the machine by their process session."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Ended(Exception):
    """A program that should be running is not."""


class Session:
    """`command`, run in the repository's folder. What it starts stays in its session, even as an orphan."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=dict(environment),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell's background job ignores SIGINT, and its children with it; a terminal's does not.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def pids(self, title: str = "") -> list[int]:
        """The processes that live, of one title: `ray::ServeReplica:segue:Generator`, whatever it is at."""
        return [
            pid
            for pid in _processes()
            if _session_of(pid) == self._process.pid and _has_title(_command_of(pid), title)
        ]

    def interrupt(self, timeout_s: float) -> None:
        """As Ctrl-C does; what has not ended after `timeout_s` is killed."""
        self._end(signal.SIGINT, timeout_s)

    def terminate(self, timeout_s: float) -> None:
        """SIGTERM for the program alone; what has not ended after `timeout_s` is killed."""
        self._end(signal.SIGTERM, timeout_s)

    def _end(self, number: signal.Signals, timeout_s: float) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for every process, parents first, so that none is replaced."""
        while pids := self.pids():
            for pid in pids:
                kill(pid)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        self._process.wait()

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def require_alive(self) -> None:
        """Raises Ended with the log's end."""
        code = self._process.poll()
        if code is not None:
            raise Ended(f"{self._process.args!r} ended with {code}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-6000:]


def kill(pid: int) -> None:
    """SIGKILL, if it still lives."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    return sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _session_of(pid: int) -> int | None:
    """None for a process that is gone, or dead and not yet waited for."""
    try:
        # After the command's name, which is in brackets and may hold anything: state, ppid, pgrp, session.
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return int(session) if state != "Z" else None


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _has_title(command: str, title: str) -> bool:
    return command.startswith(title) and (not title or command[len(title) :][:1] in ("", " ", "."))
