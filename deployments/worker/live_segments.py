"""A take's audio on its way to who listens while it is being made: stored in segments, in the background.

Only the node counts. Storing never makes the generation wait, and what fails here is tried again for as long
as the take lasts, and then forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np

from deployments.audio.samples import Samples
from deployments.audio.wav import encode_wav
from storage.domain.jobs import Job
from storage.repositories.segments import SegmentKey, Segments
from storage.stores.object_store import StoreError

logger = logging.getLogger("segue.jobs")

LONGEST_SEGMENT_S = 1.0
RETRY_S = 1.0
FAREWELL_S = 2.0
"""How long the end of a take waits for its segments to be taken away; after that they are the collector's."""


@asynccontextmanager
async def broadcasting(segments: Segments, job: Job, duration_s: float) -> AsyncIterator[Broadcast]:
    """The segments of a claimed job, whose take will be `duration_s` long: there as they are pushed, until the
    context ends."""
    broadcast = Broadcast(segments, job, duration_s)
    storing = asyncio.create_task(broadcast.store())
    try:
        yield broadcast
    finally:
        broadcast.end()
        farewell = asyncio.create_task(_take_away(broadcast, storing, job))
        try:
            await asyncio.shield(farewell)
        except asyncio.CancelledError:  # the node is published, so who watches it may end the work
            await farewell
            raise


async def _take_away(broadcast: Broadcast, storing: asyncio.Task[None], job: Job) -> None:
    try:
        async with asyncio.timeout(FAREWELL_S):
            await storing  # a put under way would come after the removal
            await broadcast.remove()
    except Exception as error:  # whatever it is, it is no fault of the take
        logger.warning("job %s: its segments are left to the collector: %r", job.id, error)


class Broadcast:
    """The first segment is the first stretch that is pushed. Each further one is as long as all before it
    together, up to 1 s: who listens waits for no longer than what they have heard lasts, if the generator is
    as quick as the music."""

    def __init__(self, segments: Segments, job: Job, duration_s: float) -> None:
        self._segments = segments
        self._job = job
        self._duration_s = duration_s
        self._rate_hz = 0
        self._waiting: list[Samples] = []
        self._waiting_samples = 0
        self._cut_samples = 0
        self._count = 0
        self._changed = asyncio.Event()
        self._over = asyncio.Event()

    def push(self, samples: Samples, rate_hz: int) -> None:
        """Take over the next stretch of the take, float32 [channels, samples]. To be called on the event loop."""
        self._rate_hz = rate_hz
        self._waiting.append(samples)
        self._waiting_samples += samples.shape[1]
        self._changed.set()

    def end(self) -> None:
        """Store nothing more."""
        self._over.set()
        self._changed.set()

    async def store(self) -> None:
        """Store what is pushed, until the end."""
        while not self._over.is_set():
            self._changed.clear()
            if self._is_ripe():
                await self._put(encode_wav(self._cut(), self._rate_hz))
            else:
                await self._changed.wait()

    async def remove(self) -> None:
        """Take away what was stored. Raises StoreError."""
        await self._segments.remove(self._job.tenant, self._job.id, self._job.fence, self._count)

    def _is_ripe(self) -> bool:
        """Whether enough waits for a segment: the take's end is never held back."""
        missing = round(self._duration_s * self._rate_hz) - self._cut_samples
        longest = round(LONGEST_SEGMENT_S * self._rate_hz)
        return self._waiting_samples >= max(1, min(longest, self._cut_samples, missing))

    def _cut(self) -> Samples:
        joined = np.concatenate(self._waiting, axis=1)
        segment, rest = np.split(joined, [round(LONGEST_SEGMENT_S * self._rate_hz)], axis=1)
        self._waiting, self._waiting_samples = [rest], rest.shape[1]
        self._cut_samples += segment.shape[1]
        return segment

    async def _put(self, data: bytes) -> None:
        """Put a segment, again and again: it may have been read already, so no other may take its place."""
        key = SegmentKey(self._job.tenant, self._job.id, self._job.fence, self._count)
        self._count += 1
        while not self._over.is_set():
            try:
                await self._segments.put(key, data)
                break
            except StoreError as error:
                logger.info("job %s: segment %d is not stored: %r", key.job_id, key.number, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._over.wait()
