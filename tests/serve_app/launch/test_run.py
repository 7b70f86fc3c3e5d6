"""The supervisor, with a small program in the place of `serve run`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve_app.run import Lines, address_of, answers_ready
from tests.serve.cluster import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

SUPERVISE = """
import os, sys
from pathlib import Path
from serve_app.run import Supervisor
folder = Path(sys.argv[1])
supervisor = Supervisor(
    [sys.executable, str(folder / "served.py")],
    is_ready=(folder / "ready").exists,
    ready_line="it is ready",
    parent=os.getppid(),
    console=folder / "console",
    daemons=["raylet"],
    stop_s=float(sys.argv[2]),
    broken_stop_s=1,
    ending_s=0.3,
)
sys.exit(supervisor.run())
"""

# What all of them have below them: a daemon, and a worker in a session of its own.
SERVED = """
import os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(__file__).parent
daemon = subprocess.Popen([str(folder / "raylet"), "600"])
worker = subprocess.Popen(["sleep", "601"], start_new_session=True)
(folder / "pids").write_text(f"{os.getpid()} {daemon.pid} {worker.pid}")
"""

STOPS = """
stops = 0
(folder / "ready").touch()
while True:
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        time.sleep(0.3)  # a second one would end it here
        (folder / "released").touch()
        break
"""


class Run:
    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder, self.process = folder, process

    def pids(self) -> list[int]:
        """The command's, the daemon's, the worker's."""
        file = self.folder / "pids"
        wait_until(lambda: file.exists() and len(file.read_text().split()) == 3, 30, "it has started")
        return [int(pid) for pid in file.read_text().split()]

    def until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "it is ready\n"

    def end(self) -> tuple[int, str, str]:
        """Status, output and errors; asserts that nothing is left."""
        pids = self.pids()
        out, errors = self.process.communicate(timeout=60)
        wait_until(lambda: not any(map(lives, pids)), 20, "every process has ended")
        return self.process.returncode, out, errors


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextmanager
def supervised(
    folder: Path, program: str, *, stop_s: float = 30.0, before: Sequence[str] = ()
) -> Iterator[Run]:
    (folder / "raylet").symlink_to("/bin/sleep")
    (folder / "served.py").write_text(SERVED + program)
    command = [*before, sys.executable, "-c", SUPERVISE, str(folder), str(stop_s)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield Run(folder, process)
        finally:
            process.kill()
            if (folder / "pids").exists():
                for pid in filter(lives, map(int, (folder / "pids").read_text().split())):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_however_often_are_one_stop(tmp_path: Path, number: signal.Signals) -> None:
    with supervised(tmp_path, STOPS) as run:
        run.until_ready()
        for _ in range(3):
            os.killpg(run.process.pid, number)
        wait_until(lambda: run.process.poll() is not None or _again(run, number), 60, "it has ended")
        status, out, errors = run.end()
    assert (status, errors) == (0, "")
    assert out == "Stopping: running jobs go back to the queue.\nSegue has stopped.\n"
    assert (tmp_path / "released").exists()


def _again(run: Run, number: signal.Signals) -> None:
    if run.process.poll() is None:
        run.process.send_signal(number)


def test_sigint_works_where_a_shell_has_ignored_it(tmp_path: Path) -> None:
    with supervised(tmp_path, STOPS, before=["sh", "-c", 'trap "" INT; exec "$@"', "sh"]) as run:
        run.until_ready()
        run.process.send_signal(signal.SIGINT)
        assert run.end()[0] == 0
    assert (tmp_path / "released").exists()


def test_nohup_holds(tmp_path: Path) -> None:
    with supervised(tmp_path, STOPS, before=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"]) as run:
        run.until_ready()
        run.process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            run.process.wait(1.5)
        run.process.send_signal(signal.SIGTERM)
        assert run.end()[0] == 0


def test_a_stop_before_it_is_ready(tmp_path: Path) -> None:
    with supervised(tmp_path, STOPS.replace('(folder / "ready").touch()', "")) as run:
        run.pids()
        run.process.send_signal(signal.SIGTERM)
        status, out, _ = run.end()
    assert status == 0
    assert "ready" not in out


def test_what_does_not_stop_is_killed(tmp_path: Path) -> None:
    program = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
(folder / "ready").touch()
time.sleep(600)
"""
    with supervised(tmp_path, program, stop_s=1) as run:
        run.until_ready()
        run.process.send_signal(signal.SIGTERM)
        status, _, errors = run.end()
    assert status == 1
    assert "did not stop within 1 s" in errors


def test_a_daemon_that_dies_ends_it_with_a_word_and_a_status(tmp_path: Path) -> None:
    with supervised(tmp_path, STOPS) as run:
        run.until_ready()
        os.kill(run.pids()[1], signal.SIGKILL)
        status, _, errors = run.end()
    assert status == 1
    assert errors.startswith("Ray's raylet has died, so Segue ends.")
    assert str(tmp_path / "console") in errors


def test_a_command_that_ends_by_itself_is_a_failure(tmp_path: Path) -> None:
    with supervised(tmp_path, 'print("no luck", flush=True)\nsys.exit(3)') as run:
        status, _, errors = run.end()
    assert status == 1
    assert "status 3" in errors or "raylet has died" in errors
    assert "no luck" in (tmp_path / "console").read_text()


def test_steps_are_shown_and_a_failed_start_ends_it(tmp_path: Path) -> None:
    program = """
pipe = int(sys.argv[-1])
os.write(pipe, b"one step\\nfailed: no room")
os.write(pipe, b" for the model\\n")
time.sleep(600)
"""
    with supervised(tmp_path, program) as run:
        status, out, errors = run.end()
    assert status == 1
    assert out == "one step\nfailed: no room for the model\n"
    assert errors.startswith("Segue could not be started.")


def test_the_end_of_the_parent_is_a_stop(tmp_path: Path) -> None:
    with supervised(tmp_path, STOPS, before=["sh", "-c", '"$@" & wait', "sh"]) as run:
        run.until_ready()
        run.process.kill()
        _, out, errors = run.end()
    assert (out, errors) == ("Stopping: running jobs go back to the queue.\nSegue has stopped.\n", "")
    assert (tmp_path / "released").exists()


def test_lines_are_whole() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        lines = Lines(read)
        assert lines.read() == []
        os.write(write, b"a\nb")
        assert lines.read() == ["a"]
        os.write(write, b"c\n")
        assert lines.read() == ["bc"]
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ("http_options: {host: 0.0.0.0, port: 8123}", "http://127.0.0.1:8123"),
        ("http_options: {host: '::', port: 80}", "http://[::1]:80"),
        ("http_options: {host: studio.example}", "http://studio.example:8000"),
        ("applications: []", "http://127.0.0.1:8000"),
    ],
)
def test_where_this_machine_reaches_a_deploy_file(tmp_path: Path, options: str, address: str) -> None:
    file = tmp_path / "deploy.yaml"
    file.write_text(options)
    assert address_of(file) == address


def test_nobody_is_not_ready() -> None:
    assert not answers_ready("http://127.0.0.1:1")
