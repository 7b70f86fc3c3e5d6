"""The object store that everything durable stands on, as a Protocol, and its errors.

It is what S3 offers and no more: whole objects under string keys, conditional puts, listing by prefix.
Implementations: `memory`, `local_folder`, `s3`. One contract suite (`tests/contract/`) runs against each. They are
safe to call from several threads and event loops at once: heartbeats come from a thread of their own.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store knows of an object without reading it.

    `stamp` changes with every write to the object; it is no ETag, and no condition takes it. `modified_at` is by
    the store's own clock (UTC).
    """

    key: str
    size_bytes: int
    stamp: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class StoredObject:
    data: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class IfAbsent:
    """Put only if there is no object under the key (S3: `If-None-Match: *`)."""


@dataclass(frozen=True, slots=True)
class IfMatch:
    """Put only over the object with this ETag (S3: `If-Match`)."""

    etag: str


Condition = IfAbsent | IfMatch | None


class StoreError(Exception):
    """A store could not do what was asked.

    StoreError
    ├── ObjectNotFound       no object under that key
    ├── PreconditionFailed   a conditional put found another state (S3: 412)
    ├── BadKey               a key that `paths` would never build
    └── StoreUnavailable     the store did not answer, or not in time; a retry may succeed
        ├── StoreFull        no space is left, or the quota is used up
        ├── StoreReadOnly    it can be read, but takes no writes
        └── StoreMissing     it is not where it was: a folder that is deleted or not mounted
    """


class ObjectNotFound(StoreError):
    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key}")
        self.key = key


class PreconditionFailed(StoreError):
    def __init__(self, key: str) -> None:
        super().__init__(f"object {key} is not in the state the put expects")
        self.key = key


class BadKey(StoreError):
    pass


class StoreUnavailable(StoreError):
    pass


class StoreFull(StoreUnavailable):
    pass


class StoreReadOnly(StoreUnavailable):
    pass


class StoreMissing(StoreUnavailable):
    pass


class ObjectStore(Protocol):
    """Keys are `/`-separated components of `[A-Za-z0-9._-]`, none empty or beginning with a dot, and no key
    is a folder of another (no object `a` beside an object `a/b`)."""

    async def get(self, key: str) -> StoredObject:
        """The whole object. Raises ObjectNotFound."""
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`; fewer at the end, none past it. Raises ObjectNotFound."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Raises ObjectNotFound."""
        ...

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        """Write the whole object atomically and durably; returns its new ETag. Raises PreconditionFailed."""
        ...

    async def put_file(self, key: str, path: Path) -> str:
        """Write a file's content atomically without holding it in memory, whatever is there; returns the ETag."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        ...

    def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, in the byte order of their keys, from after a key."""
        ...

    async def list_folders(self, prefix: str) -> builtins.list[str]:
        """The next components below `prefix` (which ends in `/` or is empty) that have objects below them.

        For `tenants/`: the tenants' names, sorted, without slashes.
        """
        ...

    async def close(self) -> None:
        """Free threads and connections. The store is not used after it."""
        ...
