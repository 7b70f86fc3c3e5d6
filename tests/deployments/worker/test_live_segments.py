"""A take's audio in segments, as it comes: soon, whole, out of the way, and gone in the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import accumulate

import numpy as np
import pytest

from deployments.audio.samples import Samples
from deployments.audio.wav import decode_wav
from deployments.worker import live_segments as broadcast
from deployments.worker.live_segments import broadcasting
from storage.domain.jobs import Job
from storage.repositories.segments import SegmentKey, Segments
from storage.stores.memory import MemoryStore
from storage.stores.object_store import Condition, StoreUnavailable
from tests.storage.domain.builders import queued_job
from tests.support.clips import music
from tests.support.faulty_store import FaultyStore, Outage
from tests.support.patience import PATIENCE_S, until

RATE_HZ = 8_000
SOUND = music(6.0, RATE_HZ, 2)


class Hall(MemoryStore):
    """Keeps what was put there, in order, also after it is gone; `refuses` as many puts as it says; a put waits
    for `gate`, a deletion for `exit`."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, bytes]] = []
        self.refuses = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.under_way = 0
        self.exit = asyncio.Event()
        self.exit.set()
        self.leaving = 0

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        self.under_way += 1
        try:
            await self.gate.wait()
            self.heard.append((key, data))
            if self.refuses:
                self.refuses -= 1
                raise StoreUnavailable("the network is away")
            return await super().put(key, data, condition)
        finally:
            self.under_way -= 1

    async def delete(self, key: str) -> None:
        self.leaving += 1
        await self.exit.wait()
        await super().delete(key)

    async def settle(self) -> None:
        """Let everybody go on until nobody puts anything any more."""
        quiet_turns = 0
        while quiet_turns < 20:
            await asyncio.sleep(0)
            quiet_turns = 0 if self.under_way else quiet_turns + 1

    @property
    def segments(self) -> list[Samples]:
        """What was put, each key's bytes once."""
        return [decode_wav(data)[0] for data in dict(self.heard).values()]

    async def keys(self) -> list[str]:
        return [info.key async for info in self.list("")]


@pytest.fixture
def hall() -> Hall:
    return Hall()


@pytest.fixture
def job() -> Job:
    return queued_job("job")


async def _pushed(hall: Hall, job: Job, sizes_s: list[float], *, wait: bool = True) -> list[float]:
    """Push the sound in pieces, each when the one before has been dealt with; the lengths of the segments."""
    ends = [round(end_s * RATE_HZ) for end_s in accumulate(sizes_s)]
    async with broadcasting(Segments(hall), job, ends[-1] / RATE_HZ) as show:
        for start, end in zip([0, *ends], ends, strict=False):
            show.push(SOUND[:, start:end], RATE_HZ)
            if wait:
                await hall.settle()
        await until(lambda: sum(segment.shape[1] for segment in hall.segments) == ends[-1])
        lengths_s = [segment.shape[1] / RATE_HZ for segment in hall.segments]
        assert np.array_equal(np.concatenate(hall.segments, axis=1), SOUND[:, : ends[-1]])
    assert await hall.keys() == []
    return lengths_s


async def test_the_first_piece_is_stored_at_once_and_segments_grow_to_a_second(hall: Hall, job: Job) -> None:
    lengths_s = await _pushed(hall, job, [0.1] * 45)
    assert lengths_s == pytest.approx([0.1, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0.9])


async def test_pieces_that_grow_by_themselves_are_stored_as_they_come(hall: Hall, job: Job) -> None:
    assert await _pushed(hall, job, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


async def test_a_long_piece_is_cut(hall: Hall, job: Job) -> None:
    assert await _pushed(hall, job, [2.5]) == [1.0, 1.0, 0.5]


async def test_a_generator_never_waits_for_the_store(hall: Hall, job: Job) -> None:
    """What comes while a put hangs is put together to whole segments."""
    hall.gate.clear()
    opening = asyncio.get_running_loop().call_later(0.1, hall.gate.set)
    lengths_s = await _pushed(hall, job, [0.02] * 100, wait=False)
    assert opening.when() <= asyncio.get_running_loop().time()
    assert lengths_s == pytest.approx([1.0, 1.0])


async def test_every_segment_is_told_of_once_it_is_there(hall: Hall, job: Job) -> None:
    told: list[SegmentKey] = []
    async with broadcasting(Segments(hall, on_stored=told.append), job, 1.0) as show:
        show.push(SOUND[:, :800], RATE_HZ)
        await until(lambda: told == [SegmentKey(job.tenant, job.id, job.fence, 0)])


async def test_a_put_that_failed_is_repeated_with_the_same_bytes(
    hall: Hall, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have landed all the same, and been read."""
    monkeypatch.setattr(broadcast, "RETRY_S", 0.01)
    hall.refuses = 3
    await _pushed(hall, job, [0.1] * 10)
    assert len(set(hall.heard[:4])) == 1
    by_key: dict[str, set[bytes]] = {}
    for key, data in hall.heard:
        by_key.setdefault(key, set()).add(data)
    assert all(len(versions) == 1 for versions in by_key.values())


async def test_a_store_that_is_away_delays_the_end_by_no_more_than_a_farewell(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "FAREWELL_S", 0.05)

    class Away(MemoryStore):
        async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
            await asyncio.Event().wait()
            raise AssertionError

    async with asyncio.timeout(PATIENCE_S):
        async with broadcasting(Segments(Away()), job, 1.0) as show:
            show.push(SOUND[:, :800], RATE_HZ)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("fault", [StoreUnavailable("away"), RuntimeError("a bug")])
async def test_nothing_that_goes_wrong_reaches_the_take(job: Job, fault: Exception) -> None:
    broken = FaultyStore(Outage(("put", "delete"), error=fault))
    async with broadcasting(Segments(broken), job, 1.0) as show:
        show.push(SOUND[:, :800], RATE_HZ)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("reason", [RuntimeError("the take failed"), asyncio.CancelledError()])
async def test_nothing_is_left_however_the_take_ends(hall: Hall, job: Job, reason: BaseException) -> None:
    with suppress(RuntimeError, asyncio.CancelledError):
        async with broadcasting(Segments(hall), job, 1.0) as show:
            show.push(SOUND[:, :800], RATE_HZ)
            await until(lambda: len(hall.heard) == 1)
            raise reason
    assert hall.heard
    assert await hall.keys() == []
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others


async def test_nothing_is_left_if_the_work_is_ended_once_its_node_is_published(hall: Hall, job: Job) -> None:
    async def work() -> None:
        async with broadcasting(Segments(hall), job, 1.0) as show:
            show.push(SOUND[:, :800], RATE_HZ)
            await until(lambda: len(hall.heard) == 1)
            hall.exit.clear()

    task = asyncio.create_task(work())
    await until(lambda: hall.leaving == 1)
    task.cancel()
    hall.exit.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await hall.keys() == []


async def test_a_put_under_way_at_the_end_leaves_nothing(hall: Hall, job: Job) -> None:
    hall.gate.clear()
    async with broadcasting(Segments(hall), job, 1.0) as show:
        show.push(SOUND[:, :800], RATE_HZ)
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(0.05, hall.gate.set)
    assert len(hall.heard) == 1
    assert await hall.keys() == []
