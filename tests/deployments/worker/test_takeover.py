"""Workers that die, pause, stop or are busy: another goes on with the job when it may, and never before."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from deployments.engines.music.protocol import GenerationEvent, GenerationRequest, Prefilled, Segment
from deployments.worker.worker import Worker
from storage.domain.jobs import JobState
from storage.domain.model import NodeStatus
from tests.deployments.worker.generators import ScriptedGenerator, good, stalled, take_audio
from tests.deployments.worker.lab import Lab, die, freeze_heart, working
from tests.deployments.worker.wire import Wire
from tests.support.patience import PATIENCE_S, until


@dataclass(frozen=True)
class Nodes:
    """`Machines` of a cluster in which those of `alive` are."""

    here: str
    alive: set[str]

    async def has_gone(self, machine: str) -> bool:
        return machine not in self.alive


LEASE_S = 1.5
"""Where a lease is to run out: long enough that a busy machine keeps one that is not."""


@pytest.fixture
def lab() -> Lab:
    return Lab()


async def test_a_dead_workers_job_is_taken_over_and_ends_once(lab: Lab) -> None:
    wire = Wire(lab.store)
    mourned, heir = ScriptedGenerator(stalled()), ScriptedGenerator()
    first, second = lab.worker(mourned, store=wire, lease_s=LEASE_S), lab.worker(heir)
    key = await lab.take()
    first.start()
    first.submit(key)
    await until(lambda: mourned.started == 1)
    async with working(second):
        await asyncio.sleep(0.1)
        assert heir.started == 0  # the first one lives
        died_s = time.monotonic()
        await die(first, wire)
        job = await lab.ended()
        waited_s = time.monotonic() - died_s
    # Its last sign of life may have been seen a beat and a sweep before it died, and on a busy machine later ones.
    assert waited_s > LEASE_S / 2
    assert (job.state, job.attempt, job.fence) == (JobState.SUCCEEDED, 2, 2)
    assert (heir.started, mourned.completed) == (1, 0)
    assert await lab.published_by() == 2
    lab.check_history()


async def test_a_worker_that_died_before_it_touched_the_chain_is_taken_over(lab: Lab) -> None:
    wire = Wire(lab.store)
    key = await lab.take(add_node=False)
    first = lab.worker(store=wire, lease_s=0.3)  # a claim alone, which has no heart
    claimed = await first._claim(key, None)
    await die(first, wire)
    assert (claimed.state, claimed.fence) == (JobState.RUNNING, 1)
    async with working(lab.worker()):
        job = await lab.ended()
    assert (job.state, job.fence) == (JobState.SUCCEEDED, 2)
    assert await lab.published_by() == 2


@pytest.mark.parametrize(("alive", "attempt"), [({"old", "new"}, 2), ({"new"}, 1)])
async def test_an_attempt_that_ended_with_its_cluster_does_not_count(
    lab: Lab, alive: set[str], attempt: int
) -> None:
    """As after SIGTERM to a bare `serve run`, where Ray kills every process; a runner that died alone counts."""
    wire = Wire(lab.store)
    first = lab.worker(store=wire, lease_s=0.3, machines=Nodes("old", {"old"}))
    await first._claim(await lab.take(), None)
    await die(first, wire)
    assert (await lab.job()).machine == "old"
    async with working(lab.worker(machines=Nodes("new", alive))):
        job = await lab.ended()
    assert (job.state, job.attempt, job.fence, job.machine) == (JobState.SUCCEEDED, attempt, 2, "new")
    assert job.machines_lost == 2 - attempt


async def test_a_job_that_beats_is_not_taken_over(lab: Lab) -> None:
    gate = asyncio.Event()
    owner, other = ScriptedGenerator(stalled(gate)), ScriptedGenerator()
    first = lab.worker(owner, lease_s=LEASE_S)
    second = lab.worker(other, takeover_grace_s=0.0)
    key = await lab.take()
    async with working(first):
        first.submit(key)
        await until(lambda: owner.started == 1)
        async with working(second):
            second.submit(key)
            await asyncio.sleep(2.2 * LEASE_S)
            gate.set()
            job = await lab.ended()
    assert (job.fence, other.started) == (1, 0)
    assert job.beat >= 3


async def _paused_and_overtaken(
    lab: Lab, paused: ScriptedGenerator, heir: ScriptedGenerator
) -> tuple[Worker, Worker]:
    """A worker in a stalled stage whose heart stands still, and another that has begun in its place."""
    first = lab.worker(paused, watch_s=60, lease_s=LEASE_S)  # nor does it look around
    second = lab.worker(heir)
    key = await lab.take()
    first.start()
    first.submit(key)
    await until(lambda: paused.started == 1)
    first._resume = freeze_heart(first)  # type: ignore[attr-defined]
    second.start()
    await until(lambda: heir.started == 1)
    return first, second


async def test_a_paused_worker_that_wakes_during_the_takeover_publishes_nothing(lab: Lab) -> None:
    woken, heirs_turn = asyncio.Event(), asyncio.Event()
    paused = ScriptedGenerator(stalled(woken, level=0.1))
    heir = ScriptedGenerator(stalled(heirs_turn, level=0.3))
    first, second = await _paused_and_overtaken(lab, paused, heir)
    woken.set()
    await until(lambda: paused.completed == 1 and first.running == 0)
    node = await lab.node()
    assert (node.status, node.fence) == (NodeStatus.RUNNING, 2)
    job = await lab.job()
    assert (job.state, job.fence) == (JobState.RUNNING, 2)
    heirs_turn.set()
    job = await lab.ended()
    first._resume()  # type: ignore[attr-defined]
    await first.stop()
    await second.stop()
    assert (job.state, job.fence) == (JobState.SUCCEEDED, 2)
    audio = (await lab.node()).audio
    assert audio is not None
    assert audio.peak_dbfs == pytest.approx(-10.46, abs=0.1)  # 0.3: the heir's
    assert await lab.published_by() == 2
    lab.check_history()


async def test_a_paused_worker_that_wakes_after_the_takeover_changes_nothing(lab: Lab) -> None:
    woken = asyncio.Event()
    paused, heir = ScriptedGenerator(stalled(woken, level=0.1)), ScriptedGenerator(good(level=0.3))
    first, second = await _paused_and_overtaken(lab, paused, heir)
    job, node = await lab.ended(), await lab.node()
    woken.set()
    await until(lambda: paused.completed == 1 and first.running == 0)
    first._resume()  # type: ignore[attr-defined]
    await first.stop()
    await second.stop()
    assert (await lab.job(), await lab.node()) == (job, node)
    assert await lab.published_by() == 2
    lab.check_history()


async def test_a_worker_cut_off_from_the_store_gives_its_stage_up_before_another_may_begin(lab: Lab) -> None:
    wire = Wire(lab.store)
    generator = ScriptedGenerator(stalled())
    worker = lab.worker(generator, store=wire, lease_s=6.0)
    key = await lab.take()
    async with working(worker):
        worker.submit(key)
        await until(lambda: generator.started == 1)
        cut_s = time.monotonic()
        wire.cut()
        await until(lambda: generator.stopped == 1)
        assert time.monotonic() - cut_s < 6.0 + 0.1
        assert worker.is_alive()


async def test_a_store_that_is_away_for_a_moment_costs_no_attempt(lab: Lab) -> None:
    """Neither a missed look at what was decided nor a missed beat ends the stage."""
    wire, gate = Wire(lab.store), asyncio.Event()
    generator = ScriptedGenerator(stalled(gate))
    worker = lab.worker(generator, store=wire, watch_s=0.02)
    key = await lab.take()
    async with working(worker):
        worker.submit(key)
        await until(lambda: generator.started == 1)
        wire.cut()
        await asyncio.sleep(0.2)
        wire.is_cut = False
        gate.set()
        job = await lab.ended()
    assert (job.state, job.attempt, job.fence) == (JobState.SUCCEEDED, 1, 1)
    assert (generator.started, generator.stopped) == (1, 0)


async def test_a_stop_gives_the_job_back_without_counting_an_attempt(lab: Lab) -> None:
    leaving, staying = ScriptedGenerator(stalled()), ScriptedGenerator()
    first, second = lab.worker(leaving, lease_s=60), lab.worker(staying, lease_s=60)
    key = await lab.take()
    first.start()
    first.submit(key)
    await until(lambda: leaving.started == 1)
    await first.stop()
    job = await lab.job()
    assert (job.state, job.attempt, job.error) == (JobState.QUEUED, 0, None)
    assert leaving.stopped == 1
    async with working(second):
        job = await lab.ended()  # no lease of 60 s had to run out
    assert (job.state, job.attempt, job.fence) == (JobState.SUCCEEDED, 1, 2)
    lab.check_history()


async def test_a_stop_gives_back_every_job_at_once(lab: Lab) -> None:
    await lab.upload()
    generator = ScriptedGenerator(stalled())
    worker = lab.worker(generator, concurrent=3)
    names = [f"job{number}" for number in range(5)]
    for name in names:
        await lab.accept(name)
    worker.start()
    await until(lambda: generator.started == 3)
    await worker.stop()
    assert [(await lab.job(name)).state for name in names] == [JobState.QUEUED] * 5
    assert [(await lab.job(name)).attempt for name in names] == [0] * 5


async def test_a_stop_ends_even_if_the_store_is_away(lab: Lab) -> None:
    wire = Wire(lab.store)
    generator = ScriptedGenerator(stalled())
    worker = lab.worker(generator, store=wire)
    key = await lab.take()
    worker.start()
    worker.submit(key)
    await until(lambda: generator.started == 1)
    wire.cut()
    async with asyncio.timeout(PATIENCE_S):
        await worker.stop()
    assert generator.stopped == 1
    assert not worker.is_alive()


def test_a_lease_is_kept_while_a_stage_blocks_the_event_loop() -> None:
    """Beats come from their own thread: a stage that hogs its worker's loop for more than a lease keeps it."""
    lab = Lab()
    other = ScriptedGenerator()
    stop = threading.Event()

    async def hogs(request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        until_s = time.monotonic() + LEASE_S
        while time.monotonic() < until_s:  # first with all of the interpreter, then without
            sum(range(1000))
        time.sleep(LEASE_S)  # noqa: ASYNC251
        yield Prefilled(take_audio(0.1, 0.0))
        yield Segment(take_audio(0.1, request.duration_s))

    async def watch() -> None:
        async with working(lab.worker(other, takeover_grace_s=0.0)):
            await asyncio.to_thread(stop.wait)

    async def work() -> int:
        key = await lab.take()
        owner = ScriptedGenerator(hogs)
        worker = lab.worker(owner, lease_s=LEASE_S)
        async with working(worker):
            worker.submit(key)
            await until(lambda: owner.started == 1)
            watcher.start()
            job = await lab.ended()
        assert (job.state, job.fence) == (JobState.SUCCEEDED, 1)
        return job.beat

    watcher = threading.Thread(target=lambda: asyncio.run(watch()))
    try:
        beats = asyncio.run(work())
    finally:
        stop.set()
        watcher.join()
    assert beats >= 3
    assert other.started == 0
