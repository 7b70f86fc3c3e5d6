"""Whatever the timing and the store's weather: every job ends once, and what has ended never changes."""

from __future__ import annotations

import asyncio
import itertools
import random
import time

from storage.domain import edits
from storage.domain.jobs import Job, JobState
from storage.domain.outcomes import outcome_of
from tests.deployments.worker.generators import Behaviour, ScriptedGenerator, good
from tests.deployments.worker.lab import CHAIN, TENANT, Lab, working
from tests.deployments.worker.wire import Wire, slow, stormy

NAMES = ("one", "two", "three")


def _takes_its_time(luck: random.Random, level: float) -> Behaviour:
    return good(level, after=lambda: asyncio.sleep(luck.uniform(0.0, 0.08)))


async def _world_of_hasty_workers(seed: int) -> int:
    """Two workers whose clocks race, so that each takes the other for dead all the time; returns how many
    claims there were beyond the first ones."""
    lab, luck = Lab(), random.Random(seed)
    workers = [
        lab.worker(
            ScriptedGenerator(_takes_its_time(luck, level)),
            store=Wire(lab.store, slow(seed * 10 + number, 0.03)),
            monotonic=lambda: time.monotonic() * 30,
            lease_s=0.9,
            sweep_s=0.02,
            max_attempts=1000,
        )
        for number, level in enumerate((0.1, 0.2))
    ]
    await lab.upload()
    keys = [await lab.accept(name) for name in NAMES]
    async with working(*workers):
        for key in keys:
            for worker in workers:
                worker.submit(key)
        jobs = [await lab.ended(name) for name in NAMES]
    lab.check_history()
    for job in jobs:
        assert job.state is JobState.SUCCEEDED
        assert 1 <= await lab.published_by(job.id) <= job.fence
    return sum(job.fence - 1 for job in jobs)


async def test_workers_that_take_each_other_for_dead_never_both_publish() -> None:
    takeovers = await asyncio.gather(*(_world_of_hasty_workers(seed) for seed in range(12)))
    assert any(takeovers), "the clocks did not race: this tests nothing"


async def _world_with_weather(seed: int, chance: float, max_attempts: int) -> list[Job]:
    lab = Lab()
    workers = [
        lab.worker(
            ScriptedGenerator(_takes_its_time(random.Random(seed), 0.1)),
            store=Wire(lab.store, stormy(seed * 10 + number, chance)),
            lease_s=0.6,
            max_attempts=max_attempts,
        )
        for number in range(2)
    ]
    await lab.upload()
    keys = [await lab.accept(name) for name in NAMES]
    async with working(*workers):
        for key in keys:
            workers[0].submit(key)
        jobs = [await lab.ended(name) for name in NAMES]
        assert all(worker.is_alive() for worker in workers)
    lab.check_history()
    chain = await lab.chains.load(TENANT, CHAIN)
    for job in jobs:
        node = chain.node(f"{job.id}-node")
        outcome = outcome_of(chain, node, node)
        assert outcome is not None
        assert (job.state, job.error) == (outcome.state, outcome.error)
    return jobs


async def test_a_store_that_fails_now_and_then_loses_and_doubles_no_work() -> None:
    worlds = await asyncio.gather(*(_world_with_weather(seed, 0.05, 1000) for seed in range(8)))
    assert {job.state for jobs in worlds for job in jobs} == {JobState.SUCCEEDED}


async def test_where_attempts_are_few_a_failing_store_still_leaves_an_honest_end() -> None:
    """Node and record agree; nearly all takes come, for a store in trouble costs no attempt: only a lease that was
    lost meanwhile does."""
    worlds = await asyncio.gather(*(_world_with_weather(seed, 0.1, 2) for seed in range(8)))
    for job in itertools.chain.from_iterable(worlds):
        if job.state is not JobState.SUCCEEDED:  # only lost heartbeats cost attempts
            assert (job.state, job.attempt) == (JobState.FAILED, 3)
            assert job.error is not None
            assert job.error.code == "attempts-exhausted"


async def test_a_cancellation_between_any_two_operations_leaves_one_end() -> None:
    async def world(cancelled_at: int) -> JobState:
        lab, operations = Lab(), itertools.count()
        key = await lab.take()

        async def cancel_at() -> None:
            if next(operations) == cancelled_at:
                await lab.chains.change(
                    TENANT, CHAIN, lambda chain, now: edits.cancel(chain, "one-node", now)
                )

        # Without a beat or a sweep in between, so that an operation's number is the same one's in every world.
        worker = lab.worker(store=Wire(lab.store, cancel_at), lease_s=300, sweep_s=60, watch_s=60)
        async with working(worker):
            worker.submit(key)
            job = await lab.ended()
        lab.check_history()
        node = await lab.node()
        outcome = outcome_of(await lab.chains.load(TENANT, CHAIN), node, node)
        assert outcome is not None
        assert job.state is outcome.state
        return job.state

    ends = await asyncio.gather(*(world(operation) for operation in range(40)))
    assert ends[0] is JobState.CANCELLED
    assert ends[-1] is JobState.SUCCEEDED
    assert set(ends) == {JobState.CANCELLED, JobState.SUCCEEDED}
