"""Who works next: takes beside whole tracks, one tenant beside another."""

from __future__ import annotations

import asyncio

from deployments.worker.handlers.handler import JobHandler, Progress
from storage.domain.jobs import Job, JobKind, JobState
from storage.domain.model import Failure
from storage.domain.outcomes import Outcome
from storage.repositories.jobs import key_of
from storage.stores.clock import utc_now
from tests.deployments.worker.lab import Lab, working
from tests.support.patience import until


class Gated:
    """A `JobHandler` whose jobs end when they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}

    def let_go(self, *names: str) -> None:
        for name in names:
            self._gates.setdefault(name, asyncio.Event()).set()

    async def open(self, job: Job) -> Outcome | None:
        return None

    async def decided(self, job: Job) -> Outcome | None:
        return None

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        self.begun.append(job.id)
        await self._gates.setdefault(job.id, asyncio.Event()).wait()
        return Outcome(JobState.SUCCEEDED, {})

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        return Outcome(JobState.FAILED, error=failure)

    async def clean_up(self, job: Job) -> None:
        return


async def accept(lab: Lab, name: str, kind: JobKind, tenant: str, weight: int = 1) -> None:
    now = utc_now()
    await lab.jobs.create(Job(name, kind, tenant, now, now, "ab" * 32, weight=weight))


async def test_takes_do_not_wait_behind_whole_tracks() -> None:
    lab, handler = Lab(), Gated()
    handlers: dict[JobKind, JobHandler] = {JobKind.EXPORT: handler, JobKind.PROCESS: handler}
    worker = lab.worker(handlers=handlers, concurrent=2, bulk=2)
    for number in range(6):
        await accept(lab, f"track-{number}", JobKind.PROCESS, "ann")
    async with working(worker):
        await until(lambda: len(handler.begun) == 2)
        await accept(lab, "take", JobKind.EXPORT, "ann")  # pushed by nobody: the sweep finds it
        await until(lambda: "take" in handler.begun)
        assert (worker.running, worker.queued) == (3, 4)
        handler.let_go("take", *(f"track-{number}" for number in range(6)))
        await until(lambda: worker.running == 0 and len(handler.begun) == 7)


async def test_a_burst_leaves_a_place_and_others_take_turns() -> None:
    lab, handler = Lab(), Gated()
    worker = lab.worker(handlers={JobKind.EXPORT: handler}, concurrent=16)
    burst = [f"ann-{number}" for number in range(40)]
    for name in burst:
        await accept(lab, name, JobKind.EXPORT, "ann")
    async with working(worker):
        await until(lambda: worker.queued == 27)
        assert worker.running == 13
        # Nothing of the burst has to end for the other's job to begin.
        await accept(lab, "bob", JobKind.EXPORT, "bob")
        worker.submit(key_of(await lab.jobs.load("bob", "bob")))
        await until(lambda: "bob" in handler.begun)
        assert len(handler.begun) == 14
        handler.let_go("bob", *burst)
        await until(lambda: len(handler.begun) == 41 and worker.running == 0)
