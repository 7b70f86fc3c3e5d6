"""The store that workers share, and the wire from each of them to it."""

from __future__ import annotations

import asyncio
import builtins
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from storage.stores.memory import MemoryStore
from storage.stores.object_store import Condition, ObjectInfo, ObjectStore, StoredObject, StoreUnavailable

T = TypeVar("T")


class RecordingStore(MemoryStore):
    """Remembers every version of every document, in the order in which they became true."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[tuple[str, bytes]] = []

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        etag = await super().put(key, data, condition)
        self.history.append((key, data))  # nothing is awaited in between
        return etag


@dataclass
class Wire:
    """One process's connection to the store. `weather` is awaited before and after each operation, and may
    wait or raise; a wire that is `cut` carries nothing any more, as when its process has died."""

    store: ObjectStore
    weather: Callable[[], Awaitable[None]] | None = None
    is_cut: bool = False

    def cut(self) -> None:
        self.is_cut = True

    async def get(self, key: str) -> StoredObject:
        return await self._carry(lambda: self.store.get(key))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._carry(lambda: self.store.get_range(key, start, length))

    async def head(self, key: str) -> ObjectInfo:
        return await self._carry(lambda: self.store.head(key))

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        return await self._carry(lambda: self.store.put(key, data, condition))

    async def put_file(self, key: str, path: Path) -> str:
        return await self._carry(lambda: self.store.put_file(key, path))

    async def delete(self, key: str) -> None:
        await self._carry(lambda: self.store.delete(key))

    async def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        await self._pass()
        async for info in self.store.list(prefix, start_after=start_after):
            yield info

    async def list_folders(self, prefix: str) -> builtins.list[str]:
        return await self._carry(lambda: self.store.list_folders(prefix))

    async def close(self) -> None:
        """The store is shared."""

    async def _carry(self, operation: Callable[[], Awaitable[T]]) -> T:
        await self._pass()
        result = await operation()
        await self._pass()
        return result

    async def _pass(self) -> None:
        if self.is_cut:
            raise StoreUnavailable("the wire is cut")
        if self.weather is not None:
            await self.weather()


def stormy(seed: int, chance: float) -> Callable[[], Awaitable[None]]:
    """Weather that loses requests and replies, each with `chance`."""
    luck = random.Random(seed)

    async def weather() -> None:
        if luck.random() < chance:
            raise StoreUnavailable("lost")

    return weather


def slow(seed: int, longest_s: float) -> Callable[[], Awaitable[None]]:
    """Weather that delays: mostly not, now and then for as long as `longest_s`."""
    luck = random.Random(seed)

    async def weather() -> None:
        if luck.random() < 0.2:
            await asyncio.sleep(luck.uniform(0.0, longest_s))

    return weather
