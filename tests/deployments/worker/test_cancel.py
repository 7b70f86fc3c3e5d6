"""Cancelling: by the chain, by the record, by a signal, or by deleting the chain. The generator stops soon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from storage.domain import decisions, edits
from storage.domain.jobs import JobState, release, request_cancel
from storage.domain.model import NodeStatus
from storage.repositories.jobs import JobKey
from tests.deployments.worker.generators import ScriptedGenerator, good, stalled
from tests.deployments.worker.lab import CHAIN, TENANT, Lab, working
from tests.support.patience import until


@pytest.fixture
def lab() -> Lab:
    return Lab()


async def _cancel_node(lab: Lab) -> None:
    await lab.chains.change(TENANT, CHAIN, lambda chain, now: edits.cancel(chain, "one-node", now))


async def _cancel_record(lab: Lab) -> None:
    await lab.jobs.change(TENANT, "one", request_cancel)


async def _discard(lab: Lab) -> None:
    await lab.chains.change(TENANT, CHAIN, lambda chain, now: decisions.discard(chain, "one-node", now))


async def _delete_chain(lab: Lab) -> None:
    await lab.chains.delete(TENANT, CHAIN)


@pytest.mark.parametrize("cancel", [_cancel_node, _cancel_record, _discard, _delete_chain])
async def test_the_watch_sees_that_a_running_job_is_cancelled(
    lab: Lab, cancel: Callable[[Lab], Awaitable[None]]
) -> None:
    """And its place is free for the next one."""
    generator = ScriptedGenerator(stalled(), good())
    key = await lab.take()
    worker = lab.worker(generator, concurrent=1, watch_s=0.2, lease_s=300)
    async with working(worker):
        worker.submit(key)
        await until(lambda: generator.started == 1)
        await cancel(lab)
        await until(lambda: generator.stopped == 1)
        job = await lab.ended()
        await lab.upload("other-chain")
        await lab.accept("next", chain_id="other-chain")
        assert (await lab.ended("next")).state is JobState.SUCCEEDED
    assert (job.state, job.attempt) == (JobState.CANCELLED, 1)
    chain = await lab.chains.find(TENANT, CHAIN)
    assert chain is not None
    assert [node.status for node in chain.nodes if node.id == "one-node"] in ([], [NodeStatus.CANCELLED])
    lab.check_history()


async def test_a_signal_is_quicker_than_the_watch(lab: Lab) -> None:
    generator = ScriptedGenerator(stalled())
    key = await lab.take()
    worker = lab.worker(generator, watch_s=60)
    async with working(worker):
        worker.submit(key)
        await until(lambda: generator.started == 1)
        await _cancel_node(lab)
        worker.look_at(key)
        await until(lambda: generator.stopped == 1)
        assert (await lab.ended()).state is JobState.CANCELLED


async def test_a_signal_without_a_cancellation_changes_nothing(lab: Lab) -> None:
    gate = asyncio.Event()
    generator = ScriptedGenerator(stalled(gate))
    key = await lab.take()
    worker = lab.worker(generator)
    worker.look_at(JobKey(TENANT, "nobody"))
    async with working(worker):
        worker.submit(key)
        await until(lambda: generator.started == 1)
        for _ in range(5):
            worker.look_at(key)
            await asyncio.sleep(0.01)
        gate.set()
        assert (await lab.ended()).state is JobState.SUCCEEDED
    assert (generator.started, generator.stopped) == (1, 0)


@pytest.mark.parametrize("cancel", [_cancel_node, _cancel_record, _delete_chain])
async def test_a_queued_job_that_was_cancelled_never_runs(
    lab: Lab, cancel: Callable[[Lab], Awaitable[None]]
) -> None:
    generator = ScriptedGenerator()
    key = await lab.take()
    await cancel(lab)
    worker = lab.worker(generator)
    async with working(worker):
        worker.submit(key)
        job = await lab.ended()
        await asyncio.sleep(0.1)
    assert (job.state, generator.started) == (JobState.CANCELLED, 0)


async def test_a_cancellation_outlives_the_worker_that_should_have_heard_it(lab: Lab) -> None:
    """The record says running and cancel_requested, the node never came into the chain, the holder stops."""
    generator = ScriptedGenerator()
    key = await lab.take(add_node=False)
    gone = lab.worker(lease_s=0.2)
    await gone._claim(key, None)
    await gone.stop()
    await _cancel_record(lab)
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert (job.state, generator.started) == (JobState.CANCELLED, 0)


async def test_a_cancellation_that_comes_after_the_publication_does_not_hide_it(lab: Lab) -> None:
    """The holder stopped between the node and the record: the job is queued again, and its node is ready."""
    key = await lab.take()
    gone = lab.worker()
    claimed = await gone._claim(key, None)
    handler = gone._handlers[claimed.kind]
    await handler.open(claimed)
    await handler.run(claimed, lambda progress: None)
    await lab.jobs.change(TENANT, "one", lambda job, now: release(job, 1, now, count_attempt=False))
    await gone.stop()
    await _cancel_node(lab)
    await _cancel_record(lab)
    generator = ScriptedGenerator()
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert (job.state, (await lab.node()).status) == (JobState.SUCCEEDED, NodeStatus.READY)
    assert generator.started == 0


async def test_a_cancellation_that_comes_after_the_end_changes_nothing(lab: Lab) -> None:
    key = await lab.take()
    worker = lab.worker()
    async with working(worker):
        worker.submit(key)
        job = await lab.ended()
        node = await lab.node()
        await _cancel_node(lab)
        await _cancel_record(lab)
        worker.look_at(key)
    assert (await lab.job(), await lab.node()) == (job, node)
