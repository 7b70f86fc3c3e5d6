"""Heartbeats: they rise, carry the progress, and say once that a claim is lost or may be."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from configs.environment import load_settings
from deployments.events.bus import Announcer, LocalBus
from deployments.worker.assembly import build_worker
from deployments.worker.heartbeat import Heart
from storage.domain.jobs import Job, JobKind, JobState, claim, finish
from storage.repositories.jobs import Jobs
from storage.stores.local_folder import THREADS, LocalFolderStore
from tests.deployments.worker.lab import TENANT, Lab
from tests.deployments.worker.wire import Wire
from tests.storage.domain.builders import queued_job
from tests.support.patience import until

LEASE_S = 2.4


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return Wire(lab.store)


@pytest.fixture
def heart(wire: Wire) -> Iterator[Heart]:
    heart = Heart(Jobs(wire))
    yield heart
    heart.close()


class Losses:
    """Counts how often a claim was said to be lost."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def _claimed(lab: Lab, name: str = "one") -> Job:
    await lab.jobs.create(queued_job(name, tenant=TENANT, kind=JobKind.EXPORT, params={}))
    return await _claim_again(lab, name)


async def _claim_again(lab: Lab, name: str = "one") -> Job:
    """Another claim, whoever holds the job."""

    def edit(job: Job, now: datetime) -> Job:
        free = replace(job, state=JobState.QUEUED)
        return claim(free, lease_s=LEASE_S, max_attempts=None, stale=None, now=now)

    return await lab.jobs.change(TENANT, name, edit)


async def test_beats_rise_and_carry_the_progress(lab: Lab, heart: Heart) -> None:
    job, losses, progress = await _claimed(lab), Losses(), 0.25
    seen: list[tuple[int, float]] = []

    async def is_seen(beat: int, progress: float) -> bool:
        now = await lab.job()
        seen.append((now.beat, now.progress))
        return now.beat >= beat and now.progress == progress

    with heart.beating(job, lambda: progress, losses):
        await until(lambda: is_seen(1, 0.25))
        progress = 0.5
        await until(lambda: is_seen(3, 0.5))
    assert seen == sorted(seen)
    assert losses.count == 0


async def test_beats_end_with_the_claim(lab: Lab, heart: Heart) -> None:
    job = await _claimed(lab)
    with heart.beating(job, lambda: 0.0, Losses()):
        await asyncio.sleep(LEASE_S / 2)
    beats = (await lab.job()).beat
    await asyncio.sleep(LEASE_S)
    assert (await lab.job()).beat == beats


async def test_one_heart_beats_for_many_jobs(lab: Lab, heart: Heart) -> None:
    jobs = [await _claimed(lab, f"job{number}") for number in range(20)]
    losses = Losses()
    with ExitStack() as beating:
        for job in jobs:
            beating.enter_context(heart.beating(job, lambda: 0.0, losses))
        for job in jobs:
            await until(lambda job_id=job.id: _beats(lab, job_id))
    assert losses.count == 0


async def test_a_claim_that_another_has_is_lost_at_the_next_beat(lab: Lab, heart: Heart) -> None:
    job, losses = await _claimed(lab), Losses()
    with heart.beating(job, lambda: 0.9, losses):
        newer = await _claim_again(lab)
        await until(lambda: losses.count)
        await asyncio.sleep(LEASE_S / 2)
    assert losses.count == 1
    assert await lab.job() == newer  # the old claim's beat left no trace


async def test_a_job_that_has_ended_needs_no_beats(lab: Lab, heart: Heart) -> None:
    job, losses = await _claimed(lab), Losses()
    with heart.beating(job, lambda: 0.0, losses):
        ended = await lab.jobs.change(TENANT, "one", lambda job, now: finish(job, JobState.CANCELLED, now))
        await until(lambda: losses.count)
    assert await lab.job() == ended


async def test_one_missed_beat_is_no_loss(lab: Lab, wire: Wire, heart: Heart) -> None:
    job, losses = await _claimed(lab), Losses()
    with heart.beating(job, lambda: 0.0, losses):
        wire.cut()
        await asyncio.sleep(LEASE_S / 3 + LEASE_S / 12)
        wire.is_cut = False
        await until(lambda: _beats(lab))
    assert losses.count == 0


async def _beats(lab: Lab, name: str = "one") -> int:
    return (await lab.job(name)).beat


async def _hangs() -> None:
    await asyncio.sleep(3600)


async def _goes_mad() -> None:
    raise RuntimeError("nobody expects this")


@pytest.mark.parametrize("fault", ["cut", "hangs", "goes mad"])
async def test_without_beats_for_two_thirds_of_the_lease_the_claim_counts_as_lost(
    lab: Lab, wire: Wire, heart: Heart, fault: str
) -> None:
    job, losses = await _claimed(lab), Losses()
    started_s = time.monotonic()
    with heart.beating(job, lambda: 0.0, losses):
        if fault == "cut":
            wire.cut()
        else:
            wire.weather = _hangs if fault == "hangs" else _goes_mad
        await until(lambda: losses.count)
        lasted_s = time.monotonic() - started_s
    assert LEASE_S * 0.6 < lasted_s < LEASE_S + 0.3
    assert losses.count == 1


async def test_a_heart_that_is_closed_while_it_beats_leaves_nothing_behind(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    heart, job, losses = Heart(lab.jobs), await _claimed(lab), Losses()
    with heart.beating(job, lambda: 0.0, losses):
        await asyncio.sleep(0.01)
        heart.close()
    assert not asyncio.all_tasks(heart._loop)
    gc.collect()
    assert not heart._thread.is_alive()
    assert heart._loop.is_closed()
    assert losses.count == 0
    assert "Task was destroyed" not in caplog.text


async def test_beats_do_not_wait_for_large_transfers(tmp_path: Path) -> None:
    """Every thread of the worker's store is held up by a transfer; the heart has a store of its own."""
    bulk, beats = (
        LocalFolderStore(tmp_path / "data", fsync=False),
        LocalFolderStore(tmp_path / "data", fsync=False),
    )
    jobs = Jobs(bulk)
    await jobs.create(queued_job("one", tenant=TENANT, kind=JobKind.EXPORT, params={}))
    job = await jobs.change(
        TENANT, "one", lambda job, now: claim(job, lease_s=0.6, max_attempts=None, stale=None, now=now)
    )
    fifo = tmp_path / "slow"
    os.mkfifo(fifo)  # opening it blocks until somebody writes
    transfers = [asyncio.create_task(bulk.put_file(f"blobs/{number}", fifo)) for number in range(THREADS)]
    worker = build_worker(bulk, {}, {}, None, Announcer(LocalBus()), load_settings({}, environ={}), beats)
    looking = LocalFolderStore(tmp_path / "data", fsync=False)

    async def has_beaten() -> bool:
        return (await Jobs(looking).load(TENANT, "one")).beat >= 3

    try:
        with worker._heart.beating(job, lambda: 0.0, lambda: None):
            await until(has_beaten)
        assert not any(transfer.done() for transfer in transfers)
    finally:
        while not all(transfer.done() for transfer in transfers):
            os.close(os.open(fifo, os.O_RDWR))  # who waits to open it reads its end
            await asyncio.sleep(0.01)
        await asyncio.gather(*transfers, return_exceptions=True)
        worker._heart.close()
        for store in (bulk, beats, looking):
            await store.close()
