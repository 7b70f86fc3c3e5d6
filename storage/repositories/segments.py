"""Audio stored while it is being made, for who listens meanwhile, to any ingress.

A claim numbers its segments from 0 without a gap, so a reader asks for the next by its name and lists nothing.
Each is written once and never changed. They serve only until the node is ready: nothing names them, and
nothing is lost with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from storage import paths
from storage.stores.object_store import ObjectNotFound, ObjectStore

CONCURRENT_REMOVALS = 8


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """What finds one segment: the job, the claim that made it, and its number."""

    tenant: str
    job_id: str
    fence: int
    number: int


class Segments:
    """`on_stored` is called with every segment that can be read from now on."""

    def __init__(
        self, store: ObjectStore, on_stored: Callable[[SegmentKey], None] = lambda segment: None
    ) -> None:
        self._store = store
        self._on_stored = on_stored

    async def put(self, key: SegmentKey, data: bytes) -> None:
        """Keep a segment. A put that failed may be repeated, with the same bytes."""
        await self._store.put(_path(key), data)
        self._on_stored(key)

    async def find(self, key: SegmentKey) -> bytes | None:
        """The segment; None if it is not there yet, or not any more."""
        try:
            return (await self._store.get(_path(key))).data
        except ObjectNotFound:
            return None

    async def remove(self, tenant: str, job_id: str, fence: int, count: int) -> None:
        """Take away the segments 0..count-1 of a claim, the first one first: whoever begins to listen then
        finds none, rather than some."""
        if not count:
            return
        await self._store.delete(_path(SegmentKey(tenant, job_id, fence, 0)))
        gate = asyncio.Semaphore(CONCURRENT_REMOVALS)

        async def remove(number: int) -> None:
            async with gate:
                await self._store.delete(_path(SegmentKey(tenant, job_id, fence, number)))

        await asyncio.gather(*(remove(number) for number in range(1, count)))


def _path(key: SegmentKey) -> str:
    return paths.segment(key.tenant, key.job_id, key.fence, key.number)
