"""A folder of the server's that a client names files in: nothing above it, nothing through a link, is reached."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from serve_app.http.problems import Forbidden, NotFound, PayloadTooLarge, Unavailable

_MAX_NAME_BYTES = 255
_OUTSIDE = "audio_path is outside the folder that this server shares"


class SharedFolder:
    """Every step of a path is opened by itself, without following links (`openat`, O_NOFOLLOW): what is checked is
    what is used, whoever renames files meanwhile. All methods block."""

    def __init__(self, root: Path, max_bytes: int, *, may_be_missing: bool = False) -> None:
        """`may_be_missing`: a folder that is not there is one without files, not a fault of the server."""
        self._root = root
        self._may_be_missing = may_be_missing
        self._max_bytes = max_bytes

    def of_tenant(self, tenant: str) -> SharedFolder:
        """The part of the folder that is this tenant's alone. `tenant` is a name from the settings."""
        return SharedFolder(self._root / tenant, self._max_bytes, may_be_missing=True)

    def fetch(self, audio_path: str, target: Path) -> None:
        """Copy a file of the folder.

        Raises Forbidden for a path outside, NotFound where there is no such file, PayloadTooLarge, Unavailable.
        """
        with self._parent_of(audio_path) as (folder, name):
            handle = _opened(name, os.O_RDONLY | os.O_NONBLOCK, folder)
            try:
                found = os.fstat(handle)
                if not stat.S_ISREG(found.st_mode):
                    raise NotFound("audio_path is no file")
                if found.st_size > self._max_bytes:
                    raise PayloadTooLarge(self._max_bytes)
                with os.fdopen(handle, "rb", closefd=False) as file, target.open("wb") as copy:
                    shutil.copyfileobj(file, copy)
            finally:
                os.close(handle)

    def put_beside(self, audio_path: str, made: Path, suffix: str) -> str:
        """Keep a file beside `audio_path`, under a new name that tells of both; returns its path in the form that
        `audio_path` had. It appears whole, or not at all. Raises as `fetch`."""
        name = _beside(PurePosixPath(audio_path).stem, f"-continued-{secrets.token_hex(4)}{suffix}")
        with self._parent_of(audio_path) as (folder, _):
            draft = f".{name}.part"
            handle = _opened(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, folder)
            try:
                with os.fdopen(handle, "wb") as file, made.open("rb") as source:
                    shutil.copyfileobj(source, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(draft, dir_fd=folder)
                raise
        return str(PurePosixPath(audio_path).with_name(name))

    @contextmanager
    def _parent_of(self, audio_path: str) -> Iterator[tuple[int, str]]:
        """The folder that the file is in, opened, and the file's name."""
        *folders, name = self._steps(audio_path)
        try:
            handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:
            if self._may_be_missing and self._root.parent.is_dir():
                raise NotFound("there is no such file in the shared folder") from error
            raise Unavailable("the shared folder is not there", retry_after_s=10) from error
        except OSError as error:
            raise Unavailable("the shared folder is not there", retry_after_s=10) from error
        try:
            for step in folders:
                inner = _opened(step, os.O_RDONLY | os.O_DIRECTORY, handle)
                os.close(handle)
                handle = inner
            yield handle, name
        finally:
            os.close(handle)

    def _steps(self, audio_path: str) -> tuple[str, ...]:
        """From the folder to the file. An absolute path has to begin with the folder's own, as it is configured or
        as it really is."""
        path = PurePosixPath(audio_path)
        if "\0" in audio_path or ".." in path.parts:
            raise Forbidden(_OUTSIDE, code="outside-folder")
        if path.is_absolute():
            for root in (self._root, self._root.resolve()):
                if path.is_relative_to(root):
                    path = path.relative_to(root)
                    break
            else:
                raise Forbidden(_OUTSIDE, code="outside-folder")
        if not path.parts:
            raise NotFound("audio_path is no file")
        return path.parts


def _beside(stem: str, ending: str) -> str:
    """`stem` + `ending`, the stem cut so that the name, and its draft's, are no longer than a file's may be."""
    room_bytes = _MAX_NAME_BYTES - len(f".{ending}.part".encode())
    return stem.encode()[:room_bytes].decode(errors="ignore") + ending


def _opened(name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode=0o644, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise Forbidden("audio_path leads through a link", code="outside-folder") from error
        if error.errno == errno.ENOTDIR and stat.S_ISLNK(_mode(name, folder)):
            raise Forbidden("audio_path leads through a link", code="outside-folder") from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
            raise NotFound("there is no such file in the shared folder") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise Forbidden("this server may not use that file") from error
        raise


def _mode(name: str, folder: int) -> int:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        return 0
