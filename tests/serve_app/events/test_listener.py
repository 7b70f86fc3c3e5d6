"""The listener: notices reach those who asked for them; where some were lost, everybody is woken to poll."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deployments.events.bus import (
    Batch,
    ChainChanged,
    Cursor,
    JobProgressed,
    LocalBus,
    NoticeBus,
    SegmentStored,
)
from deployments.telemetry.catalog import EVENT_LAG
from serve_app.events.listener import QUEUED_NOTICES, Listener, Subscription, segments_of
from tests.support.patience import PATIENCE_S, until
from tests.support.recorder import MemoryRecorder


@asynccontextmanager
async def listening(bus: NoticeBus) -> AsyncIterator[Listener]:
    listener = Listener(bus)
    listener.start()
    await asyncio.sleep(0.01)  # it has asked for its first cursor
    try:
        yield listener
    finally:
        await listener.stop()


async def test_notices_reach_their_own_subscribers_alone() -> None:
    bus = LocalBus()
    async with listening(bus) as listener:
        with (
            listener.subscribe("t", "c") as mine,
            listener.subscribe("t", "c") as also,
            listener.subscribe("t", "other") as other,
            listener.subscribe("another tenant", "c") as foreign,
        ):
            notice = ChainChanged("t", "c", 2)
            await bus.publish(notice)
            assert await mine.next(PATIENCE_S) == await also.next(PATIENCE_S) == notice
            assert await other.next(0.02) is None
            assert await foreign.next(0.02) is None


async def test_the_lag_of_each_notice_is_measured_where_it_arrives() -> None:
    bus, recorder = LocalBus(), MemoryRecorder()
    listener = Listener(bus, recorder)
    listener.start()
    try:
        with listener.subscribe("t", "c") as subscription:
            await asyncio.sleep(0.01)  # it has asked for its first cursor
            await bus.publish(ChainChanged("t", "c", 2), published_at_s=time.time() - 60.0)
            await bus.publish(ChainChanged("t", "c", 3), published_at_s=time.time() + 60.0)  # a clock ahead
            await subscription.next(PATIENCE_S)
            await subscription.next(PATIENCE_S)
            assert await subscription.next(0.0) is None
    finally:
        await listener.stop()
    late_s, early_s = recorder.of(EVENT_LAG, notice="chain")
    assert late_s >= 60.0
    assert early_s == 0.0


async def test_segments_are_told_to_those_alone_who_listen() -> None:
    bus = LocalBus()
    async with listening(bus) as listener:
        with listener.subscribe("t", segments_of("j")) as ear, listener.subscribe("t", "c", "j") as eye:
            notice = SegmentStored("t", "j", 1, 0)
            await bus.publish(notice)
            assert await ear.next(PATIENCE_S) == notice
            assert await eye.next(0.02) is None


async def test_progress_is_remembered_and_told_to_a_job_and_its_chain() -> None:
    bus = LocalBus()
    async with listening(bus) as listener:
        with listener.subscribe("t", "job") as job, listener.subscribe("t", "chain") as chain:
            notice = JobProgressed("t", "job", 1, "chain", "node", 0.4)
            await bus.publish(notice)
            assert await job.next(PATIENCE_S) == await chain.next(PATIENCE_S) == notice
        assert listener.progress_of("job", 1) == 0.4
        assert listener.progress_of("another", 1) is None
        await bus.publish(JobProgressed("t", "alone", 1, None, None, 0.7))
        await until(lambda: listener.progress_of("alone", 1) == 0.7)


async def test_progress_rises_under_a_claim_and_begins_anew_with_the_next() -> None:
    bus = LocalBus()
    async with listening(bus) as listener:
        with listener.subscribe("t", "job") as ear:
            for fence, progress in ((1, 0.2), (1, 0.6), (1, 0.4), (2, 0.1), (1, 0.8), (2, 0.3)):
                await bus.publish(JobProgressed("t", "job", fence, None, None, progress))
            told = [notice for _ in range(4) if (notice := await ear.next(PATIENCE_S)) is not None]
            assert await ear.next(0.02) is None
    assert [(each.fence, each.progress) for each in told] == [(1, 0.2), (1, 0.6), (2, 0.1), (2, 0.3)]
    assert listener.progress_of("job", 2) == 0.3
    assert listener.progress_of("job", 1) is None
    assert listener.progress_of("job", 3) is None


class BeganAnew(LocalBus):
    """A bus that loses its memory after the first answer."""

    answers = 0

    async def after(self, cursor: Cursor | None, timeout_s: float) -> Batch:
        self.answers += 1
        if self.answers == 1:
            return await super().after(cursor, timeout_s)
        await asyncio.sleep(0.02)
        return Batch(Cursor("new", self.answers), (), complete=False)


async def test_lost_notices_wake_everybody() -> None:
    async with listening(BeganAnew()) as listener:
        with listener.subscribe("t", "c") as subscription:
            async with asyncio.timeout(PATIENCE_S):
                assert await subscription.next(60) is None


async def test_a_full_queue_drops_the_oldest() -> None:
    subscription = Subscription()
    for version in range(QUEUED_NOTICES + 3):
        subscription.put(ChainChanged("t", "c", version))
    assert await subscription.next(PATIENCE_S) == ChainChanged("t", "c", 3)
