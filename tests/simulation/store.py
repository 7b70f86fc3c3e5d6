"""The store of a simulation: one truth, and a wire to it for each process, on which everything may go wrong."""

from __future__ import annotations

import asyncio
import builtins
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from storage.stores.memory import MemoryStore
from storage.stores.object_store import (
    Condition,
    ObjectInfo,
    PreconditionFailed,
    StoredObject,
    StoreUnavailable,
)
from tests.simulation.virtual import VirtualLoop
from tests.support.invariants import Write

T = TypeVar("T")

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
LIST_PAGE = 8


class Fault(StrEnum):
    """What may befall one operation."""

    NONE = "nothing"
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    REPLY_LOST_AND_RETRIED = "reply lost, retried below, answered 412"
    SLOW = "slow"
    OUTAGE = "outage begins"
    STALL_BEFORE = "process stalls before it asks"
    STALL_AFTER = "process stalls while it waits"
    CRASH_BEFORE = "process dies before it asks"
    CRASH_AFTER = "process dies while it waits"


@dataclass(frozen=True, slots=True)
class Mishap:
    """A fault and how long it lasts."""

    fault: Fault
    duration_s: float = 0.0


class Owner(Protocol):
    """The process at a wire's near end."""

    name: str

    def stall(self, duration_s: float) -> None: ...

    def crash(self) -> None: ...


class Fates(Protocol):
    """Decides what befalls each operation."""

    def next(self, owner: Owner, operation: str, key: str) -> Mishap: ...


class Truth(MemoryStore):
    """The objects as they are, and every version of them in the order in which they became true."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self.history: list[Write] = []
        self.away_until_s = 0.0
        self.in_flight = 0

    def clock(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time())

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        etag = await super().put(key, data, condition)
        self._objects[key] = replace(self._objects[key], modified_at=self.clock())
        self.history.append(Write(self._loop.time(), key, data))
        return etag

    async def delete(self, key: str) -> None:
        await super().delete(key)
        self.history.append(Write(self._loop.time(), key, None))

    def objects(self) -> dict[str, bytes]:
        return {key: kept.data for key, kept in self._objects.items()}


class Wire:
    """An `ObjectStore` as one process reaches it: a request travels, takes effect, and its reply travels back.

    What has been sent lands even if the sender is dead by then, or gave up waiting long before.
    """

    def __init__(
        self, truth: Truth, loop: VirtualLoop, luck: random.Random, fates: Fates, owner: Owner
    ) -> None:
        self._truth = truth
        self._loop = loop
        self._luck = luck
        self._fates = fates
        self._owner = owner
        self._far_end = loop.strand(f"store of {owner.name}")

    async def get(self, key: str) -> StoredObject:
        return await self._call("get", key, lambda: self._truth.get(key))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._call("get", key, lambda: self._truth.get_range(key, start, length))

    async def head(self, key: str) -> ObjectInfo:
        return await self._call("head", key, lambda: self._truth.head(key))

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        return await self._call(
            "put" if condition is None else "swap", key, lambda: self._truth.put(key, data, condition)
        )

    async def put_file(self, key: str, path: Path) -> str:
        return await self.put(key, await asyncio.to_thread(path.read_bytes))

    async def delete(self, key: str) -> None:
        await self._call("delete", key, lambda: self._truth.delete(key))

    async def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """By pages, between which the world goes on."""
        while True:
            after = start_after
            page = await self._call("list", prefix, lambda: self._page(prefix, after))  # noqa: B023
            for info in page:
                yield info
            if len(page) < LIST_PAGE:
                return
            start_after = page[-1].key

    async def list_folders(self, prefix: str) -> builtins.list[str]:
        return await self._call("list", prefix, lambda: self._truth.list_folders(prefix))

    async def close(self) -> None:
        """The truth is shared."""

    async def _page(self, prefix: str, start_after: str) -> builtins.list[ObjectInfo]:
        found = [info async for info in self._truth.list(prefix, start_after=start_after)]
        return found[:LIST_PAGE]

    async def _call(self, operation: str, key: str, effect: Callable[[], Coroutine[Any, Any, T]]) -> T:
        mishap = self._fates.next(self._owner, operation, key)
        if mishap.fault is Fault.CRASH_BEFORE:
            self._owner.crash()
            await asyncio.sleep(0)  # for good
        if mishap.fault is Fault.STALL_BEFORE:
            self._owner.stall(mishap.duration_s)
            await asyncio.sleep(0)
        if mishap.fault is Fault.REQUEST_LOST:
            await asyncio.sleep(self._latency_s())
            raise StoreUnavailable(f"the {operation} of {key} was lost")
        reply: asyncio.Future[T] = self._loop.create_future()
        delay_s = mishap.duration_s if mishap.fault is Fault.SLOW else self._latency_s()
        self._truth.in_flight += 1
        self._far_end.call_later(delay_s, self._land, effect, reply, mishap, operation, key)
        if mishap.fault is Fault.STALL_AFTER:
            self._owner.stall(mishap.duration_s)
        if mishap.fault is Fault.CRASH_AFTER:
            self._owner.crash()
        return await reply

    def _land(
        self,
        effect: Callable[[], Coroutine[Any, Any, T]],
        reply: asyncio.Future[T],
        mishap: Mishap,
        operation: str,
        key: str,
    ) -> None:
        self._truth.in_flight -= 1
        if mishap.fault is Fault.OUTAGE:
            self._truth.away_until_s = self._loop.time() + mishap.duration_s
        result: T | None = None
        error: BaseException | None = None
        if self._loop.time() < self._truth.away_until_s:
            error = StoreUnavailable("the store is away")
        else:
            try:
                result = at_once(effect())
            except Exception as raised:
                error = raised
        if error is None and mishap.fault is Fault.REPLY_LOST:
            error = StoreUnavailable(f"the reply to the {operation} of {key} was lost")
        if error is None and mishap.fault is Fault.REPLY_LOST_AND_RETRIED and operation == "swap":
            error = PreconditionFailed(key)
        self._far_end.call_later(self._latency_s(), _answer, reply, result, error)

    def _latency_s(self) -> float:
        """Mostly quick, now and then not, so that whoever is ahead may be overtaken."""
        return self._luck.uniform(0.001, 0.03 if self._luck.random() < 0.9 else 1.0)


def _answer(reply: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if reply.done():
        return  # nobody waits any more
    if error is None:
        reply.set_result(result)
    else:
        reply.set_exception(error)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits for anything but its turn."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
