"""All processes below this one, those included whose own parents have died."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None

POLL_S = 0.1


def end_with_parent() -> None:
    """In a new process, before its program: a stop (SIGINT) when the parent dies, and SIGINT is not ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)


class Descendants:
    """Those of the calling process, by one look at the process table. On Linux none gets away: orphans are adopted.
    Elsewhere an orphan is not found any more."""

    def __init__(self) -> None:
        self._waited_for_elsewhere: set[int] = set()

    def adopt_orphans(self) -> None:
        """From now on this process becomes the parent of every descendant whose own has died."""
        if _prctl is not None:
            _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def leave_status_of(self, pid: int) -> None:
        """The caller waits for this child itself."""
        self._waited_for_elsewhere.add(pid)

    def names(self) -> dict[int, str]:
        """The program's name of each that lives, by pid. Orphans that have ended are waited for."""
        table = _table()
        below: dict[int, str] = {}
        todo = [os.getpid()]
        while todo:
            parent = todo.pop()
            for pid, process in table.items():
                if process.parent != parent:
                    continue
                todo.append(pid)
                if process.lives:
                    below[pid] = process.name
                elif parent == os.getpid() and pid not in self._waited_for_elsewhere:
                    with suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)
        return below

    def wait(self, timeout_s: float) -> bool:
        """Wait until none is left; False if some are after `timeout_s`."""
        until_s = time.monotonic() + timeout_s
        while self.names():
            if time.monotonic() > until_s:
                return False
            time.sleep(POLL_S)
        return True

    def kill(self) -> None:
        """SIGKILL for all, until none is left."""
        while pids := self.names():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    lives: bool
    name: str


def _table() -> dict[int, _Process]:
    """Every process, by pid."""
    if not Path("/proc/self/stat").exists():
        return _table_of_ps()
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # pid (name) state ppid ...: the name may hold anything, brackets too.
                start, _, rest = (entry / "stat").read_text(errors="replace").rpartition(")")
                state, parent = rest.split()[:2]
                table[int(entry.name)] = _Process(int(parent), state not in "ZX", start.partition("(")[2])
    return table


def _table_of_ps() -> dict[int, _Process]:
    command = ["ps", "-A", "-o", "pid=,ppid=,stat=,comm="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ps:
        rows = [line.split(None, 3) for line in ps.communicate()[0].splitlines()]
    return {
        int(row[0]): _Process(int(row[1]), row[2][0] != "Z", row[3].rpartition("/")[2])
        for row in rows
        if len(row) == 4 and int(row[0]) != ps.pid
    }
