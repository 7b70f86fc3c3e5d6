"""Notices: best-effort word that something changed, so that clients get it at once.

Nothing depends on a notice arriving: who misses one finds the change by polling the document. A bus keeps the
last few thousand in order; a listener asks for what came after its cursor and waits if there is nothing yet.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

logger = logging.getLogger("segue.notices")

KEPT_NOTICES = 4096


@dataclass(frozen=True, slots=True)
class ChainChanged:
    tenant: str
    chain_id: str
    version: int


@dataclass(frozen=True, slots=True)
class JobProgressed:
    """`progress` is 0..1, of the claim `fence` on a job. Chain and node are None for a job that belongs to none."""

    tenant: str
    job_id: str
    fence: int
    chain_id: str | None
    node_id: str | None
    progress: float


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A runner has claimed the job, or is done with it: its record is another."""

    tenant: str
    job_id: str


@dataclass(frozen=True, slots=True)
class SegmentStored:
    """Segment `number` of the claim `fence` on a job can be read."""

    tenant: str
    job_id: str
    fence: int
    number: int


@dataclass(frozen=True, slots=True)
class JobForeseen:
    """Where an unfinished job stands: `queue_position` is 1 for the next one, None once it is running; `eta_s` is
    how long it is until its end, None where that is not known. Chain and node as in `JobProgressed`."""

    tenant: str
    job_id: str
    chain_id: str | None
    node_id: str | None
    queue_position: int | None
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class WorkForeseen:
    """The forecasts of one runner for all its jobs; replaces its report before. Valid for a few seconds."""

    runner: str
    jobs: tuple[JobForeseen, ...]


Notice = ChainChanged | JobChanged | JobProgressed | SegmentStored | WorkForeseen


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in one bus's sequence. Another `epoch` means that the bus began anew and notices were lost."""

    epoch: str
    position: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Notices after a cursor. `complete` is False if some in between were lost: poll everything once.
    `published_at_s`: when each was published, by its publisher's clock, in seconds since 1970."""

    cursor: Cursor
    notices: tuple[Notice, ...]
    complete: bool
    published_at_s: tuple[float, ...] = ()


class NoticeBus(Protocol):
    async def publish(self, notice: Notice) -> None: ...

    async def after(self, cursor: Cursor | None, timeout_s: float) -> Batch:
        """The notices after `cursor`, waiting up to `timeout_s` for a first one; None: from now on."""
        ...


class LocalBus:
    """A bus in this process, used by the event hub and by tests. Not for several event loops."""

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(4)
        self._kept: deque[tuple[Notice, float]] = deque(maxlen=KEPT_NOTICES)
        self._end = 0
        self._arrived = asyncio.Event()

    async def publish(self, notice: Notice, published_at_s: float | None = None) -> None:
        """`published_at_s` None: now."""
        self._kept.append((notice, time.time() if published_at_s is None else published_at_s))
        self._end += 1
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def after(self, cursor: Cursor | None, timeout_s: float) -> Batch:
        if cursor is None or cursor.epoch != self._epoch or cursor.position > self._end:
            return Batch(Cursor(self._epoch, self._end), (), complete=False)
        if cursor.position == self._end:
            arrived = self._arrived
            try:
                async with asyncio.timeout(timeout_s):
                    await arrived.wait()
            except TimeoutError:
                return Batch(cursor, (), complete=True)
        start = self._end - len(self._kept)
        missed = cursor.position < start
        news = tuple(self._kept)[max(0, cursor.position - start) :]
        return Batch(
            Cursor(self._epoch, self._end),
            tuple(notice for notice, _ in news),
            complete=not missed,
            published_at_s=tuple(at_s for _, at_s in news),
        )


class HubBus:
    """The bus of the `EventHub` deployment, through its Serve handle."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def publish(self, notice: Notice) -> None:
        await self._handle.publish.remote(notice, time.time())

    async def after(self, cursor: Cursor | None, timeout_s: float) -> Batch:
        batch: Batch = await self._handle.after.remote(cursor, timeout_s)
        return batch


class Announcer:
    """Sends notices without making the sender wait, and swallows a dead bus."""

    def __init__(self, bus: NoticeBus) -> None:
        self._bus = bus
        self._sending: set[asyncio.Task[None]] = set()

    def announce(self, notice: Notice) -> None:
        """To be called on the event loop that the bus belongs to."""
        task = asyncio.get_running_loop().create_task(self._send(self._bus.publish(notice)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except Exception as error:  # the hub may be dead or restarting: polling covers for it
            logger.debug("notice lost: %r", error)
