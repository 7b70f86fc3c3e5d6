"""An object store in a folder: one file for each object, its key the path below the root.

- A put writes a temporary file, syncs it, renames it into place and syncs the folder: a reader, which takes
  no lock, sees the old object or the new one whole, and an acknowledged put survives a crash.
- What looks before it writes does so under `flock` on one of a fixed set of lock files, so conditions hold
  across threads and processes. The root must be on one file system that honours `flock` (not every network
  file system does) and tells upper from lower case.
- An ETag is the SHA-256 of the content. `head` and `list` read no content: they look at sizes and times.
- The root has an identity, `.segue/id`, written when the store is first opened. Each operation looks for it: a
  root that is deleted, empty or another one (a volume that is not mounted) is StoreMissing, never an empty
  store, and the store works again as soon as its own root is back.
- Folders are made when needed and left when empty: removing them would race with a put that has just made
  them, and there are few.

Lock files and temporary files lie in `.segue/` below the root; no key begins with a dot.
"""

from __future__ import annotations

import asyncio
import builtins
import errno
import fcntl
import hashlib
import io
import os
import secrets
import stat
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from storage.stores.keys import check_folder, check_key, check_prefix, check_range
from storage.stores.object_store import (
    BadKey,
    Condition,
    IfAbsent,
    IfMatch,
    ObjectInfo,
    ObjectNotFound,
    PreconditionFailed,
    StoredObject,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
    StoreUnavailable,
)

T = TypeVar("T")

THREADS = 16
LOCK_STRIPES = 64
TEMPORARY_LIFE_S = 3600.0
_CHUNK_BYTES = 1024 * 1024
_LIST_PAGE = 128
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class LocalFolderStore:
    """Implements `ObjectStore` on `root`, which is made if it is not there.

    `fsync=False` gives up durability, not atomicity: for tests. `threads` is how many operations run at once.
    Raises StoreUnavailable if the folder cannot be used, StoreMissing with `require_existing` for one in which no
    store has been opened before.
    """

    def __init__(
        self, root: Path, *, fsync: bool = True, threads: int = THREADS, require_existing: bool = False
    ) -> None:
        self._root = root.absolute()
        self._identity = self._root / ".segue" / "id"
        self._locks = self._root / ".segue" / "locks"
        self._temporary = self._root / ".segue" / "tmp"
        self._fsync = fsync
        self._synced_folders: set[Path] = set()
        with _explained("use", str(root)):
            if require_existing and not self._identity.exists():
                raise StoreMissing(
                    f"the folder {self._root} holds no data of Segue: is its volume mounted? "
                    "(storage.require_existing is set)"
                )
            self._root.mkdir(parents=True, exist_ok=True)
            self._locks.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir(exist_ok=True)
            self._id = self._identify()
            self._sweep_temporary()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="local-folder")

    async def get(self, key: str) -> StoredObject:
        check_key(key)
        return await self._run(lambda: self._get(key))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        check_key(key)
        check_range(start, length)
        return await self._run(lambda: self._get_range(key, start, length))

    async def head(self, key: str) -> ObjectInfo:
        check_key(key)
        return await self._run(lambda: self._head(key))

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        check_key(key)
        return await self._run(lambda: self._put(key, io.BytesIO(data), condition))

    async def put_file(self, key: str, path: Path) -> str:
        check_key(key)
        return await self._run(lambda: self._put_file(key, path))

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._run(lambda: self._delete(key))

    async def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        folder, _, _ = prefix.rpartition("/")
        keys = self._walk(f"{folder}/" if folder else "", prefix, start_after)
        while page := await self._run(lambda: self._page(prefix, keys)):
            for info in page:
                if info is not None:
                    yield info

    async def list_folders(self, prefix: str) -> builtins.list[str]:
        check_folder(prefix)
        return await self._run(lambda: self._list_folders(prefix))

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    async def _run(self, work: Callable[[], T]) -> T:
        def checked() -> T:
            self._require_root()
            try:
                result = work()
            except ObjectNotFound:
                self._require_root()  # not there, or gone together with the whole root meanwhile?
                raise
            if not result:  # an empty listing, likewise
                self._require_root()
            return result

        return await asyncio.get_running_loop().run_in_executor(self._executor, checked)

    # From here on: in a thread.

    def _identify(self) -> bytes:
        """The root's identity; a new one where it has none. One of the processes that open a new root writes it."""
        with self._locked("id"):
            if not self._identity.exists():
                draft = self._temporary / secrets.token_hex(16)
                self._write(draft, io.BytesIO(secrets.token_hex(16).encode()))
                draft.replace(self._identity)
                self._sync_folder(self._identity.parent)
            return self._identity.read_bytes()

    def _require_root(self) -> None:
        try:
            found = self._identity.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreMissing(f"the data folder {self._root} is not there") from error
        except OSError as error:
            raise _unavailable("read", str(self._root), error) from error
        if found != self._id:
            raise StoreMissing(f"another data folder is at {self._root}")

    def _get(self, key: str) -> StoredObject:
        with _explained("read", key), self._open(key) as file:
            data = file.read()
        return StoredObject(data, hashlib.sha256(data).hexdigest())

    def _get_range(self, key: str, start: int, length: int) -> bytes:
        with _explained("read", key), self._open(key) as file:
            file.seek(start)
            return file.read(length)

    def _head(self, key: str) -> ObjectInfo:
        try:
            with _explained("read", key):
                status = (self._root / key).stat()
        except StoreUnavailable as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise ObjectNotFound(key) from error
            raise
        if not stat.S_ISREG(status.st_mode):
            raise ObjectNotFound(key)
        stamp = f"{status.st_mtime_ns:x}-{status.st_ctime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
        return ObjectInfo(key, status.st_size, stamp, datetime.fromtimestamp(status.st_mtime, UTC))

    def _put_file(self, key: str, path: Path) -> str:
        with path.open("rb") as source:
            return self._put(key, source, None)

    def _put(self, key: str, source: BinaryIO, condition: Condition) -> str:
        target = self._root / key
        temporary = self._temporary / secrets.token_hex(16)
        with _explained("write", key):
            try:
                etag = self._write(temporary, source)
                with self._locked(key):
                    self._require(condition, key)
                    self._make_folder(target.parent)
                    temporary.replace(target)
                    self._sync_folder(target.parent)
            except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
                raise BadKey(f"{key} is a folder of another key, or has a key for a folder") from error
            finally:
                temporary.unlink(missing_ok=True)
        return etag

    def _delete(self, key: str) -> None:
        target = self._root / key
        with _explained("delete", key), self._locked(key), suppress(FileNotFoundError, NotADirectoryError):
            if not target.is_dir():
                target.unlink()
                self._sync_folder(target.parent)

    def _page(self, prefix: str, keys: Iterator[str]) -> builtins.list[ObjectInfo | None]:
        """The next objects of a listing, None for one that has gone; empty at the end."""
        with _explained("list", prefix):
            return [self._head_or_none(key) for key in islice(keys, _LIST_PAGE)]

    def _head_or_none(self, key: str) -> ObjectInfo | None:
        try:
            return self._head(key)
        except ObjectNotFound:
            return None

    def _walk(self, folder: str, prefix: str, start_after: str) -> Iterator[str]:
        """The keys below `folder` that begin with `prefix` and come after `start_after`, in byte order.

        A folder sorts by its name and the slash: all of `a-b` and `a.b` come before what lies in `a/`.
        """
        for name in sorted(self._names(folder)):
            path = f"{folder}{name}"
            if not path.endswith("/"):
                if path.startswith(prefix) and path > start_after:
                    yield path
            elif path.startswith(prefix) and (path > start_after or start_after.startswith(path)):
                yield from self._walk(path, prefix, start_after)

    def _list_folders(self, prefix: str) -> builtins.list[str]:
        with _explained("list", prefix):
            folders = [name for name in self._names(prefix) if name.endswith("/")]
            return sorted(name[:-1] for name in folders if self._has_objects(f"{prefix}{name}"))

    def _has_objects(self, folder: str) -> bool:
        names = self._names(folder)
        return any(not name.endswith("/") for name in names) or any(
            self._has_objects(f"{folder}{name}") for name in names
        )

    def _names(self, folder: str) -> builtins.list[str]:
        """What a folder holds, folders with a slash at the end; nothing hidden, nothing of a missing one."""
        try:
            with os.scandir(self._root / folder) as entries:
                return [
                    f"{entry.name}/" if entry.is_dir() else entry.name
                    for entry in entries
                    if not entry.name.startswith(".")
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _open(self, key: str) -> BinaryIO:
        try:
            return (self._root / key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectNotFound(key) from error

    def _require(self, condition: Condition, key: str) -> None:
        match condition:
            case IfAbsent():
                if (self._root / key).exists():
                    raise PreconditionFailed(key)
            case IfMatch(etag):
                try:
                    with self._open(key) as file:
                        found = _digest(file)
                except ObjectNotFound as error:
                    raise PreconditionFailed(key) from error
                if found != etag:
                    raise PreconditionFailed(key)

    def _write(self, temporary: Path, source: BinaryIO) -> str:
        digest = hashlib.sha256()
        with temporary.open("xb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
            file.flush()
            if self._fsync:
                os.fsync(file.fileno())
        return digest.hexdigest()

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the key's lock, against threads and processes alike: each call has a descriptor of its own."""
        stripe = zlib.crc32(key.encode()) % LOCK_STRIPES
        lock = os.open(self._locks / f"{stripe:02d}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # Closing is not enough: a child forked meanwhile shares the descriptor, and so the lock.
                fcntl.flock(lock, fcntl.LOCK_UN)
        finally:
            os.close(lock)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder durable with all above it, also if another process made it and is yet to sync it."""
        if folder == self._root or (folder in self._synced_folders and folder.is_dir()):
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self._sync_folder(folder.parent)
        self._synced_folders.add(folder)

    def _sync_folder(self, folder: Path) -> None:
        if not self._fsync:
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _sweep_temporary(self) -> None:
        """Remove what processes that died in a put left behind. No living put pauses for this long."""
        oldest_s = time.time() - TEMPORARY_LIFE_S
        for path in self._temporary.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()


def _digest(file: BinaryIO) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any readable file


@contextmanager
def _explained(action: str, what: str) -> Iterator[None]:
    """Turn what the operating system refuses (no space, no permission, ...) into StoreUnavailable."""
    try:
        yield
    except OSError as error:
        raise _unavailable(action, what, error) from error


def _unavailable(action: str, what: str, error: OSError) -> StoreUnavailable:
    kind = (
        StoreFull
        if error.errno in _FULL
        else StoreReadOnly
        if error.errno in _READ_ONLY and action in ("write", "delete")
        else StoreUnavailable
    )
    return kind(f"cannot {action} {what}: {error.strerror or error}")
