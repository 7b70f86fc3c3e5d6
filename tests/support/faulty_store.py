"""A store that counts what is asked of it, and fails where a test wants it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from storage.stores.memory import MemoryStore
from storage.stores.object_store import Condition, ObjectInfo, StoredObject, StoreUnavailable


@dataclass
class Outage:
    """`operations` whose key contains `within` raise `error` instead of being done: `times` of them, None for all,
    after the first `spared`."""

    operations: Sequence[str] = ("put",)
    within: str = ""
    error: Exception | type[Exception] = StoreUnavailable
    spared: int = 0
    times: int | None = None

    def meet(self, operation: str, key: str) -> None:
        if operation not in self.operations or self.within not in key:
            return
        if self.spared > 0:
            self.spared -= 1
        elif self.times != 0:
            self.times = None if self.times is None else self.times - 1
            raise self.error


class FaultyStore(MemoryStore):
    """Fails as its `outage` says; None: all is well. `calls` are the operations that were asked for, with their key
    or prefix, the failed ones too; `read_bytes` counts what parts of objects have been read."""

    def __init__(self, outage: Outage | None = None) -> None:
        super().__init__()
        self.outage = outage
        self.calls: list[tuple[str, str]] = []
        self.read_bytes = 0

    def count(self, operation: str, within: str = "") -> int:
        """The calls of one operation whose key or prefix contains `within`."""
        return sum(name == operation and within in key for name, key in self.calls)

    async def get(self, key: str) -> StoredObject:
        self._meet("get", key)
        return await super().get(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        self._meet("get_range", key)
        data = await super().get_range(key, start, length)
        self.read_bytes += len(data)
        return data

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        self._meet("put", key)
        return await super().put(key, data, condition)

    async def delete(self, key: str) -> None:
        self._meet("delete", key)
        await super().delete(key)

    async def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        self._meet("list", prefix)
        async for info in super().list(prefix, start_after=start_after):
            yield info

    def _meet(self, operation: str, key: str) -> None:
        self.calls.append((operation, key))
        if self.outage is not None:
            self.outage.meet(operation, key)
