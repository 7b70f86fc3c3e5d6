"""An object store in this process's memory: for tests, and for trying things. It is gone with the process."""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage.stores.keys import check_folder, check_key, check_prefix, check_range
from storage.stores.object_store import (
    Condition,
    IfAbsent,
    IfMatch,
    ObjectInfo,
    ObjectNotFound,
    PreconditionFailed,
    StoredObject,
)


@dataclass(frozen=True, slots=True)
class _Kept:
    data: bytes
    etag: str
    modified_at: datetime

    def info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self.data), self.etag, self.modified_at)


class MemoryStore:
    """Implements `ObjectStore`. Every call lets other tasks run first, as a store across a network would."""

    def __init__(self) -> None:
        self._objects: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    async def get(self, key: str) -> StoredObject:
        kept = await self._find(key)
        return StoredObject(kept.data, kept.etag)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        check_range(start, length)
        return (await self._find(key)).data[start : start + length]

    async def head(self, key: str) -> ObjectInfo:
        return (await self._find(key)).info(key)

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        check_key(key)
        await self._let_others_run()
        kept = _Kept(data, hashlib.sha256(data).hexdigest(), datetime.now(UTC))
        with self._lock:
            _require(condition, key, self._objects.get(key))
            self._objects[key] = kept
        return kept.etag

    async def put_file(self, key: str, path: Path) -> str:
        return await self.put(key, await asyncio.to_thread(path.read_bytes))

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._let_others_run()
        with self._lock:
            self._objects.pop(key, None)

    async def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        await self._let_others_run()
        with self._lock:
            found = [
                kept.info(key)
                for key, kept in self._objects.items()
                if key.startswith(prefix) and key > start_after
            ]
        for info in sorted(found, key=lambda info: info.key):
            yield info

    async def list_folders(self, prefix: str) -> builtins.list[str]:
        check_folder(prefix)
        await self._let_others_run()
        with self._lock:
            below = [key[len(prefix) :] for key in self._objects if key.startswith(prefix)]
        return sorted({key.split("/", 1)[0] for key in below if "/" in key})

    async def close(self) -> None:
        """Nothing to free."""

    async def _let_others_run(self) -> None:
        await asyncio.sleep(0)

    async def _find(self, key: str) -> _Kept:
        check_key(key)
        await self._let_others_run()
        with self._lock:
            kept = self._objects.get(key)
        if kept is None:
            raise ObjectNotFound(key)
        return kept


def _require(condition: Condition, key: str, kept: _Kept | None) -> None:
    match condition:
        case IfAbsent() if kept is not None:
            raise PreconditionFailed(key)
        case IfMatch(etag) if kept is None or kept.etag != etag:
            raise PreconditionFailed(key)
