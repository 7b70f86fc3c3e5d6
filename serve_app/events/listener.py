"""One listener for each ingress process: reads the notice bus and wakes those who wait for a chain or a job.

When the bus is dead or lost something, everybody is woken once and polls; nobody waits for a notice longer
than a poll interval.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from configs.settings import EventSettings
from deployments.events.bus import (
    ChainChanged,
    Cursor,
    JobChanged,
    JobForeseen,
    JobProgressed,
    Notice,
    NoticeBus,
    SegmentStored,
    WorkForeseen,
)
from deployments.telemetry import catalog
from deployments.telemetry.recorder import Nowhere, Recorder
from serve_app.events.outlooks import Outlooks
from serve_app.http.fields import Outlook, ProgressOf

logger = logging.getLogger("segue.events")

LONG_POLL_S = 10.0
RETRY_S = 0.5
KEPT_PROGRESS = 10_000
QUEUED_NOTICES = 256
EVERYTHING = "*"
"""The topic of all chains and jobs of a tenant. No id is called so."""


Heard = ChainChanged | JobChanged | JobProgressed | SegmentStored | JobForeseen
"""What a subscription gives."""


NAMES: Final[Mapping[type[Heard], str]] = {
    ChainChanged: "chain",
    JobChanged: "job",
    JobProgressed: "progress",
    SegmentStored: "segment",
    JobForeseen: "forecast",
}
"""Of notices, as metrics have them."""


class Subscription:
    """A bounded queue of notices. When it overflows, the oldest go: a reader polls anyway."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._queue: asyncio.Queue[tuple[Heard | None, float]] = asyncio.Queue(QUEUED_NOTICES)
        self._recorder = recorder or Nowhere()

    async def next(self, timeout_s: float) -> Heard | None:
        """The next notice; None when there was none in time, or when it is time to poll."""
        try:
            async with asyncio.timeout(timeout_s):
                notice, published_at_s = await self._queue.get()
        except TimeoutError:
            return None
        if notice is not None:
            lag_s = max(0.0, time.time() - published_at_s)
            self._recorder.record(catalog.EVENT_LAG, lag_s, notice=NAMES[type(notice)])
        return notice

    def put(self, notice: Heard | None, published_at_s: float = 0.0) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait((notice, published_at_s))


def segments_of(job_id: str) -> str:
    """The topic of a job's segments, for the subscribers of that job alone."""
    return f"segments/{job_id}"


async def ticks(subscription: Subscription, settings: EventSettings) -> AsyncIterator[Heard | None]:
    """Notices, and None when it is time to poll; ends with a stream's life.

    It is time to poll after `poll_s` even where notices come all the while: one of them may be missing.
    """
    started_s = polled_s = time.monotonic()
    while (now_s := time.monotonic()) - started_s < settings.max_stream_s:
        quiet_s = polled_s + settings.poll_s - now_s
        notice = await subscription.next(quiet_s) if quiet_s > 0 else None
        if notice is None:
            polled_s = time.monotonic()
        yield notice


class Listener:
    def __init__(self, bus: NoticeBus, recorder: Recorder | None = None) -> None:
        self._bus = bus
        self._recorder = recorder
        self._subscriptions: dict[tuple[str, str], set[Subscription]] = defaultdict(set)
        self._progress: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._outlooks = Outlooks()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @contextmanager
    def subscribe(self, tenant: str, *record_ids: str) -> Iterator[Subscription]:
        """Notices about the chains and jobs of these ids, or about EVERYTHING, and what `segments_of` names."""
        subscription = Subscription(self._recorder)
        topics = [(tenant, record_id) for record_id in record_ids]
        for topic in topics:
            self._subscriptions[topic].add(subscription)
        try:
            yield subscription
        finally:
            for topic in topics:
                self._subscriptions[topic].discard(subscription)
                if not self._subscriptions[topic]:
                    del self._subscriptions[topic]

    def progress_of(self, job_id: str, fence: int) -> float | None:
        """The last progress heard of this claim on a job; None if none was."""
        heard = self._progress.get(job_id)
        return heard[1] if heard is not None and heard[0] == fence else None

    def latest_progress_of(self, job_id: str) -> float:
        """The last progress reported by any claim on this job; 0 if there was none."""
        heard = self._progress.get(job_id)
        return 0.0 if heard is None else heard[1]

    def outlook_of(self, job_id: str) -> Outlook:
        """The forecast of its runner for an unfinished job; unknown without a recent report."""
        return self._outlooks.of(job_id)

    @property
    def sight(self) -> ProgressOf:
        """Progress and forecasts, for the views."""
        return ProgressOf(self.progress_of, self.latest_progress_of, self.outlook_of)

    async def _listen(self) -> None:
        cursor: Cursor | None = None
        while True:
            try:
                batch = await self._bus.after(cursor, LONG_POLL_S)
                if not batch.complete and cursor is not None:
                    self._wake_all()
                cursor = batch.cursor
                for notice, published_at_s in zip(batch.notices, batch.published_at_s, strict=True):
                    self._deliver(notice, published_at_s)
            except Exception as error:  # whatever a dying hub raises, or one of another version sends
                logger.debug("event hub: %r", error)
                cursor = None
                await asyncio.sleep(RETRY_S)

    def _deliver(self, notice: Notice, published_at_s: float) -> None:
        topics: tuple[str, ...]
        match notice:
            case ChainChanged(chain_id=chain_id):
                topics = (chain_id, EVERYTHING)
            case JobProgressed(chain_id=chain_id, job_id=job_id):
                topics = (chain_id or "", job_id, EVERYTHING) if self._remember(notice) else ()
            case JobChanged(job_id=job_id):
                topics = (job_id, EVERYTHING)
            case SegmentStored(job_id=job_id):
                topics = (segments_of(job_id),)
            case WorkForeseen():
                for job in self._outlooks.take(notice):
                    self._hand_out(job, published_at_s, (job.chain_id or "", job.job_id, EVERYTHING))
                return
        self._hand_out(notice, published_at_s, topics)

    def _hand_out(self, notice: Heard, published_at_s: float, topics: tuple[str, ...]) -> None:
        for topic in topics:
            for subscription in self._subscriptions.get((notice.tenant, topic), ()):
                subscription.put(notice, published_at_s)

    def _remember(self, notice: JobProgressed) -> bool:
        """Whether it is news: not from an older claim, whose holder may not know yet that it is over, and not
        overtaken on its way by a later one."""
        now = (notice.fence, notice.progress)
        if now < self._progress.get(notice.job_id, now):
            return False
        self._progress[notice.job_id] = now
        self._progress.move_to_end(notice.job_id)
        while len(self._progress) > KEPT_PROGRESS:
            self._progress.popitem(last=False)
        return True

    def _wake_all(self) -> None:
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.put(None)
