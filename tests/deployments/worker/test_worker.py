"""One worker: a job runs once, ends as it should, and says so on its node, in its record and by its marker."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from deployments.engines.common.errors import (
    BadRequest,
    EngineBroken,
    EngineBusy,
    ModelUnavailable,
    UnknownModel,
)
from deployments.engines.music.protocol import (
    GenerationEvent,
    GenerationProgress,
    GenerationRequest,
    Prefilled,
    Segment,
)
from deployments.events.bus import JobProgressed
from deployments.stages.generate import GenerateStage
from deployments.worker.handlers.generate import GenerateHandler
from deployments.worker.handlers.handler import JobHandler
from storage import paths
from storage.domain import decisions
from storage.domain.jobs import Job, JobKind, JobState
from storage.domain.model import Failure, NodeStatus
from storage.domain.outcomes import Outcome
from storage.repositories.jobs import JobKey
from storage.repositories.segments import Segments
from storage.stores.object_store import Condition, StoreFull, StoreUnavailable
from tests.deployments.worker.generators import (
    MODEL,
    TAKE_S,
    ScriptedGenerator,
    breaks,
    good,
    stalled,
    take_audio,
)
from tests.deployments.worker.lab import CHAIN, TENANT, Lab, dead_claim, working
from tests.deployments.worker.wire import Wire
from tests.support.patience import PATIENCE_S, until


@pytest.fixture
def lab() -> Lab:
    return Lab()


async def test_a_job_pushed_twice_and_swept_runs_once(lab: Lab) -> None:
    generator, key = ScriptedGenerator(), await lab.take()
    worker = lab.worker(generator)
    async with working(worker):
        worker.submit(key)
        await asyncio.gather(worker.sweep(), worker.sweep())
        worker.submit(key)
        job = await lab.ended()
        worker.submit(key)
        await worker.sweep()
        await asyncio.sleep(0.1)
    assert generator.started == 1
    assert (job.state, job.attempt, job.fence) == (JobState.SUCCEEDED, 1, 1)
    assert job.result == {"chain_id": CHAIN, "node_id": "one-node"}
    assert [stage.name for stage in job.stages] == ["generate"]
    assert (await lab.node()).status is NodeStatus.READY
    lab.check_history()


async def test_a_job_that_nobody_pushed_is_swept_up(lab: Lab) -> None:
    await lab.take()
    async with working(lab.worker()):
        assert (await lab.ended()).state is JobState.SUCCEEDED


async def test_jobs_beyond_the_places_wait_and_then_run(lab: Lab) -> None:
    await lab.upload()
    gate = asyncio.Event()
    generator = ScriptedGenerator(stalled(gate))
    worker = lab.worker(generator, concurrent=2)
    async with working(worker):
        for number in range(5):
            key = await lab.accept(f"job{number}")
            worker.submit(key)
            worker.submit(key)
        await until(lambda: generator.started == 2)
        await asyncio.sleep(0.05)
        assert (worker.running, worker.queued, generator.started) == (2, 3, 2)
        gate.set()
        for number in range(5):
            assert (await lab.ended(f"job{number}")).state is JobState.SUCCEEDED
        await until(lambda: worker.running == 0)
    assert generator.completed == 5


async def test_a_generated_root_brings_its_chain_with_it(lab: Lab) -> None:
    await lab.accept(parent_id=None, add_node=False, title="From nothing", mode="text")
    async with working(lab.worker()):
        assert (await lab.ended()).state is JobState.SUCCEEDED
    chain = await lab.chains.load(TENANT, CHAIN)
    assert (chain.title, chain.root_id) == ("From nothing", "one-node")
    assert chain.node("one-node").status is NodeStatus.READY


async def test_a_broken_engine_is_tried_again(lab: Lab) -> None:
    broken = breaks(EngineBroken("out of memory"))
    generator, key = ScriptedGenerator(broken, broken, good()), await lab.take()
    worker = lab.worker(generator)
    async with working(worker):
        worker.submit(key)
        job = await lab.ended()
    assert (generator.started, job.state, job.attempt, job.error) == (3, JobState.SUCCEEDED, 3, None)
    node = await lab.node()
    assert (node.status, node.error) == (NodeStatus.READY, None)


async def test_an_engine_that_stays_broken_fails_the_job_with_its_reason(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    generator, key = ScriptedGenerator(breaks(EngineBroken("out of memory"))), await lab.take()
    worker = lab.worker(generator)
    async with working(worker):
        worker.submit(key)
        job = await lab.ended()
    assert generator.started == 3
    reason = Failure("engine-broken", "out of memory")
    assert (job.state, job.error) == (JobState.FAILED, reason)
    node = await lab.node()
    assert (node.status, node.error) == (NodeStatus.FAILED, reason)
    assert "job one failed in attempt 3: out of memory" in caplog.messages


async def test_a_retry_waits_a_little(lab: Lab) -> None:
    generator = ScriptedGenerator(breaks(EngineBroken("once")), good())
    key = await lab.take()
    worker = lab.worker(generator, retry_delay_s=1.5, sweep_s=60)
    async with working(worker):
        worker.submit(key)
        await until(lambda: generator.started == 1)
        await asyncio.sleep(0.15)
        assert generator.started == 1
        assert await lab.has("one", JobState.QUEUED)
        assert (await lab.job()).error == Failure("engine-broken", "once")
        await lab.ended()
    assert generator.started == 2


async def test_a_busy_engine_costs_no_attempt(lab: Lab) -> None:
    generator = ScriptedGenerator(*[breaks(EngineBusy("the queue is full"))] * 7, good())
    await lab.take()
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert (generator.started, job.state, job.attempt) == (8, JobState.SUCCEEDED, 1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadRequest("melody mode needs a context"), "bad-request"),
        (UnknownModel("no such model"), "unknown-model"),
        (ModelUnavailable("no weights"), "model-unavailable"),
    ],
)
async def test_what_cannot_get_better_fails_at_once(lab: Lab, error: Exception, code: str) -> None:
    generator = ScriptedGenerator(breaks(error))
    await lab.take()
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert generator.started == 1
    assert (job.state, job.attempt, job.error) == (JobState.FAILED, 1, Failure(code, str(error)))
    assert (await lab.node()).error == job.error


async def test_a_model_that_is_not_served_fails_at_once(lab: Lab) -> None:
    await lab.take(model="another")
    async with working(lab.worker()):
        job = await lab.ended()
    assert job.error is not None
    assert (job.state, job.attempt, job.error.code) == (JobState.FAILED, 1, "unknown-model")


async def test_a_deadline_fails_the_job_and_stops_the_generator(lab: Lab) -> None:
    generator = ScriptedGenerator(stalled())
    await lab.take()
    async with working(lab.worker(generator, deadline_s=1.0)):
        job = await lab.ended()
    assert job.error is not None
    assert (job.state, job.attempt, job.error.code) == (JobState.FAILED, 1, "deadline")
    assert (generator.started, generator.stopped) == (1, 1)
    assert (await lab.node()).error == job.error


async def test_a_timeout_inside_the_work_is_not_the_deadline(lab: Lab) -> None:
    generator = ScriptedGenerator(breaks(TimeoutError()), good())
    await lab.take()
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)


async def test_an_unexpected_error_is_tried_again_and_shows_no_insides(lab: Lab) -> None:
    generator = ScriptedGenerator(breaks(RuntimeError("secret path /root/weights")))
    await lab.take()
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert generator.started == 3
    assert job.error == Failure("internal", "unexpected RuntimeError")


async def test_a_full_disk_is_waited_for_and_costs_no_attempt(lab: Lab) -> None:
    generator = ScriptedGenerator(breaks(OSError(errno.ENOSPC, "No space left on device", "/tmp/x")), good())
    await lab.take()
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


async def test_a_disk_that_stays_full_ends_the_job_at_its_time_limit(lab: Lab) -> None:
    generator = ScriptedGenerator(breaks(OSError(errno.ENOSPC, "No space left on device", "/tmp/x")))
    await lab.take()
    async with working(lab.worker(generator, deadline_s=1.0)):
        job = await lab.ended()
    assert job.error is not None
    assert (job.state, job.attempt, job.error.code) == (JobState.FAILED, 1, "deadline")
    assert "/tmp" not in job.error.detail


async def test_attempts_that_died_are_given_up(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """The record says: third attempt, running; and its holder gives no sign."""
    await lab.take()
    for _ in range(3):
        await lab.jobs.change(TENANT, "one", dead_claim)
    generator = ScriptedGenerator()
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert generator.started == 0
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.FAILED, "attempts-exhausted")
    node = await lab.node()
    assert (node.status, node.error) == (NodeStatus.FAILED, job.error)
    assert f"job one was given up, and ended as failed: {job.error.detail}" in caplog.messages


async def test_attempts_that_died_before_the_node_was_there_are_given_up_too(lab: Lab) -> None:
    await lab.take(add_node=False)
    for _ in range(3):
        await lab.jobs.change(TENANT, "one", dead_claim)
    async with working(lab.worker()):
        assert (await lab.ended()).state is JobState.FAILED


async def test_a_node_that_is_ready_already_is_not_made_again(lab: Lab) -> None:
    """A runner published and died before it could finish the record."""
    await lab.take()
    await lab.jobs.change(TENANT, "one", dead_claim)
    stage = GenerateStage(lab.blobs, {MODEL: ScriptedGenerator()})
    handler = GenerateHandler(lab.chains, stage, Segments(lab.store))
    job = await lab.job()
    await handler.open(job)
    await handler.run(job, lambda progress: None)
    published = (await lab.node()).audio
    generator = ScriptedGenerator()
    async with working(lab.worker(generator)):
        job = await lab.ended()
    assert (generator.started, job.state, job.fence) == (0, JobState.SUCCEEDED, 2)
    assert job.result == {"chain_id": CHAIN, "node_id": "one-node"}
    assert (await lab.node()).audio == published


async def test_a_node_that_the_ingress_did_not_add_is_added(lab: Lab) -> None:
    await lab.take(add_node=False)
    async with working(lab.worker()):
        assert (await lab.ended()).state is JobState.SUCCEEDED
    assert (await lab.node()).status is NodeStatus.READY


async def test_a_parent_discarded_meanwhile_is_a_conflict(lab: Lab) -> None:
    await lab.take("parent")
    generator = ScriptedGenerator()
    worker = lab.worker(generator)
    async with working(worker):
        await lab.ended("parent")
        await lab.chains.change(
            TENANT, CHAIN, lambda chain, now: decisions.discard(chain, "parent-node", now)
        )
        await lab.accept("child", parent_id="parent-node", add_node=False)
        job = await lab.ended("child")
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.FAILED, "conflict")
    assert (await lab.chains.load(TENANT, CHAIN)).find("child-node") is None


async def test_a_parent_that_never_was_is_a_conflict(lab: Lab) -> None:
    await lab.take(parent_id="nobody", add_node=False)
    async with working(lab.worker()):
        job = await lab.ended()
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.FAILED, "conflict")


async def test_a_chain_that_never_was_ends_the_job(lab: Lab) -> None:
    await lab.accept(add_node=False)
    async with working(lab.worker()):
        assert (await lab.ended()).state is JobState.CANCELLED


async def test_a_context_that_is_gone_fails_at_once(lab: Lab) -> None:
    await lab.take()
    audio = (await lab.chains.load(TENANT, CHAIN)).node("root").audio
    assert audio is not None
    await lab.store.delete(paths.blob(TENANT, audio.blob.name))
    async with working(lab.worker()):
        job = await lab.ended()
    assert job.error is not None
    assert (job.state, job.attempt, job.error.code) == (JobState.FAILED, 1, "blob-corrupt")


async def test_a_record_that_nobody_can_read_hides_no_other(lab: Lab) -> None:
    await lab.take("zz")
    for job_id, document in (
        ("aa", b"not json"),
        ("bb", b'{"write_ids": [], "record": {"format_version": 99}}'),
    ):
        await lab.store.put(paths.active(TENANT, job_id), b"")
        await lab.store.put(paths.job(TENANT, job_id), document)
    worker = lab.worker()
    async with working(worker):
        assert (await lab.ended("zz")).state is JobState.SUCCEEDED
        assert worker.is_alive()


async def test_a_marker_without_a_record_stays_and_one_of_an_ended_job_goes(lab: Lab) -> None:
    """The first may be of a request that is being accepted; the second is what a crash left."""
    await lab.take()
    worker = lab.worker()
    async with working(worker):
        await lab.ended()
        await lab.store.put(paths.active(TENANT, "one"), b"")
        await lab.store.put(paths.active(TENANT, "being-written"), b"")

        async def only_the_first_is_left() -> bool:
            return await lab.jobs.active() == [JobKey(TENANT, "being-written")]

        await until(only_the_first_is_left)
        await worker.sweep()
        assert await only_the_first_is_left()


async def test_progress_is_told_and_never_falls(lab: Lab) -> None:
    async def wavers(request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        for fraction in (0.0, 0.2, 0.1, 0.5, 0.4, 7.0, 0.9):
            yield GenerationProgress(fraction)
            await asyncio.sleep(0.11)
        yield Prefilled(take_audio(0.1, 0.0))
        yield Segment(take_audio(0.1, request.duration_s))

    start = (await lab.bus.after(None, 0)).cursor
    await lab.take()
    async with working(lab.worker(ScriptedGenerator(wavers), lease_s=1.5)):
        await lab.ended()
    told = [notice for notice in (await lab.bus.after(start, 0)).notices if isinstance(notice, JobProgressed)]
    assert {(notice.tenant, notice.job_id, notice.chain_id, notice.node_id) for notice in told} == {
        (TENANT, "one", CHAIN, "one-node")
    }
    fractions = [notice.progress for notice in told]
    assert fractions == sorted(fractions)
    assert {0.2, 0.5, 1.0} <= set(fractions)
    assert max(fractions) == 1.0
    records = [record["progress"] for record in lab.records("one")]
    assert records == sorted(records)
    assert any(0.0 < progress < 1.0 for progress in records)


async def test_progress_is_not_told_more_often_than_anybody_looks(lab: Lab) -> None:
    async def chatters(request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        for step in range(1000):
            yield GenerationProgress(step / 2000)
        yield Prefilled(take_audio(0.1, 0.0))
        yield Segment(take_audio(0.1, request.duration_s))

    start = (await lab.bus.after(None, 0)).cursor
    await lab.take()
    async with working(lab.worker(ScriptedGenerator(chatters))):
        await lab.ended()
    assert 1 <= len((await lab.bus.after(start, 0)).notices) < 20


class FaultyHandler:
    """Fails in the ways in which no handler should; each `open` raises the next of `errors`."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = iter(errors)

    async def open(self, job: Job) -> Outcome | None:
        for error in itertools.islice(self._errors, 1):
            raise error
        return None

    async def decided(self, job: Job) -> Outcome | None:
        return None

    async def run(self, job: Job, on_progress: Any) -> Outcome:
        return Outcome(JobState.SUCCEEDED, {"made": job.attempt})

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        return Outcome(JobState.FAILED, error=failure)

    async def clean_up(self, job: Job) -> None:
        return


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (KeyError("node"), 3),
        (StoreUnavailable("away"), 1),
        (OSError(28, "disk full"), 1),
        (EngineBusy("full"), 1),
    ],
)
async def test_a_worker_outlives_whatever_a_handler_raises(lab: Lab, error: Exception, attempts: int) -> None:
    """And an attempt is counted only for what is the job's own fault."""
    handlers: dict[JobKind, JobHandler] = {JobKind.GENERATE: FaultyHandler(error, error)}
    await lab.take()
    worker = lab.worker(handlers=handlers)
    async with working(worker):
        job = await lab.ended()
        assert worker.is_alive()
    assert (job.state, job.result) == (JobState.SUCCEEDED, {"made": attempts})


class Troubled(Wire):
    """Reads go through; writes whose key has `kind` in it are refused as long as `is_full`."""

    is_full = False
    kind = ""
    refused = 0

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        if self.is_full and self.kind in key:
            self.refused += 1
            raise StoreFull("no space left")
        return await super().put(key, data, condition)


@pytest.mark.parametrize("kind", ["/blobs/", "/chains/", "/"])
async def test_a_job_waits_for_a_storage_in_trouble_and_no_attempt_is_counted(lab: Lab, kind: str) -> None:
    """Full for blobs, for documents, for everything: the last outlasts the lease, so that the claim is doubtful."""
    started = asyncio.Event()

    async def play(request: GenerationRequest) -> AsyncGenerator[GenerationEvent]:
        started.set()
        async for event in ScriptedGenerator().generate(request):
            yield event

    wire = Troubled(lab.store)
    wire.kind = kind
    wire.is_full = kind != "/"
    await lab.take()
    lease_s = 0.6 if kind == "/" else 6.0
    async with working(lab.worker(ScriptedGenerator(play), store=wire, max_attempts=1, lease_s=lease_s)):
        if kind == "/":
            await until_set(started)
            wire.is_full = True
        await until_refused(wire, 12 if kind == "/" else 3)
        assert not (await lab.job()).state.is_finished
        wire.is_full = False
        job = await lab.ended()
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


async def until_set(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await event.wait()


async def until_refused(wire: Troubled, count: int) -> None:
    async def enough() -> bool:
        return wire.refused >= count

    await until(enough)


async def test_waiting_for_a_busy_generator_writes_nothing(lab: Lab) -> None:
    tries = 0

    async def play(request: GenerationRequest) -> AsyncGenerator[GenerationEvent]:
        nonlocal tries
        tries += 1
        if tries <= 4:
            raise EngineBusy("the model's queue is full")
        async for event in ScriptedGenerator().generate(request):
            yield event

    await lab.take()
    before = len(lab.versions())
    async with working(lab.worker(ScriptedGenerator(play), max_attempts=1)):
        job = await lab.ended()
    assert (job.state, job.attempt, tries) == (JobState.SUCCEEDED, 1, 5)
    assert len(lab.versions()) - before == 2  # it runs, it is ready


@pytest.mark.parametrize("document", [b"torn", b'{"write_ids": [], "record": {"format_version": 99}}'])
async def test_a_job_whose_chain_is_damaged_ends_and_hinders_no_other(lab: Lab, document: bytes) -> None:
    await lab.take()
    await lab.upload("other")
    await lab.accept("two", chain_id="other")
    await lab.store.put(paths.chain(TENANT, CHAIN), document)
    async with working(lab.worker()):
        broken, fine = await lab.ended("one"), await lab.ended("two")
    assert (broken.state, fine.state) == (JobState.FAILED, JobState.SUCCEEDED)
    assert broken.error is not None
    assert "damaged" in broken.error.detail


async def test_a_take_has_the_length_that_was_asked_for(lab: Lab) -> None:
    await lab.take()
    async with working(lab.worker()):
        await lab.ended()
    audio = (await lab.node()).audio
    assert audio is not None
    assert audio.duration_s == TAKE_S
