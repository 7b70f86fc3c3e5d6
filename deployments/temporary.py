"""Temporary folders: all of a user's lie in one root, in a folder of the process that they belong to.

    {system's temporary folder, $TMPDIR}/segue-{uid}/{pid}-{time of first use}/{purpose}-{random}/

A process holds a lock (`flock`) on its own folder, which the kernel releases when the process ends in whatever way.
So `sweep` knows what nobody uses any more, also where containers share the temporary folder and their pids mean
nothing to each other. (systemd-tmpfiles respects the same lock.)
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class TemporaryRoot:
    """One user's root. Only that user can read it, and no root that another made is used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: tuple[int, Path] | None = None
        self._turn = threading.Lock()

    @contextmanager
    def folder(self, purpose: str) -> Iterator[Path]:
        """An empty folder that is removed with all that is in it at the end. Raises OSError."""
        with tempfile.TemporaryDirectory(prefix=f"{purpose}-", dir=self.own_folder()) as name:
            yield Path(name)

    def sweep(self) -> int:
        """Remove the folders of processes that have ended; returns how many. What cannot be removed stays."""
        swept = 0
        with suppress(FileNotFoundError), os.scandir(self._path) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    swept += _remove_if_unused(Path(entry.path))
        return swept

    def own_folder(self) -> Path:
        """This process's folder, which outlives it until the next sweep. Raises OSError."""
        with self._turn:
            if self._own is None or self._own[0] != os.getpid() or not self._own[1].is_dir():
                self._own = (os.getpid(), self._new_folder())
            return self._own[1]

    def _new_folder(self) -> Path:
        self._make_root()
        while True:
            path = self._path / f"{os.getpid()}-{time.time_ns()}"
            path.mkdir(mode=0o700)
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # a sweep came between
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # held, by the open descriptor, until the process ends
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return path
            os.close(descriptor)

    def _make_root(self) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self._path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(f"{self._path} belongs to another user; set TMPDIR to a folder of your own")
        if stat.S_IMODE(status.st_mode) != 0o700:
            self._path.chmod(0o700)


def _remove_if_unused(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return not path.exists()


_roots: dict[Path, TemporaryRoot] = {}


def temporary_root() -> TemporaryRoot:
    """This user's, in the system's temporary folder."""
    path = Path(tempfile.gettempdir(), f"segue-{os.geteuid()}")
    return _roots.setdefault(path, TemporaryRoot(path))


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """An empty folder in this user's root, removed at the end. Raises OSError."""
    with temporary_root().folder(purpose) as folder:
        yield folder


def sweep_temporary_folders() -> int:
    """Remove what processes of this user left behind when they were killed; returns how many had left something."""
    return temporary_root().sweep()
