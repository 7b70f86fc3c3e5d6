"""A runner's reports on its jobs: their places in its queue, and when they will be done."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from deployments.events.bus import Announcer, JobForeseen, WorkForeseen
from deployments.specs.derive import StemsSpec
from deployments.specs.generate import GenerateSpec
from deployments.specs.process import ProcessSpec
from deployments.worker.forecast import Outlook, Pace, Task, Underway, foresee
from storage.domain.jobs import Job, JobKind
from storage.domain.model import DomainError
from storage.repositories.jobs import JobKey, Jobs
from storage.stores.object_store import StoreError

logger = logging.getLogger("segue.jobs")

REPORT_S = 1.0
READS_A_REPORT = 16
MOST_OF_IT = 0.95
"""A job that ended below this was cancelled or failed, and does not count as a measurement."""
FURTHEST = 500
"""Jobs further back in the queue are not reported."""


class Foresight:
    """Of one worker, which calls `began`, `progressed` and `ended`. It only informs: no decision depends on it."""

    def __init__(
        self,
        jobs: Jobs,
        announcer: Announcer,
        places: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner = secrets.token_hex(8)
        self._jobs = jobs
        self._announcer = announcer
        self._places = places
        self._monotonic = monotonic
        self._running: dict[JobKey, tuple[Job, Underway]] = {}
        self._read: dict[JobKey, Job] = {}
        self._paces: dict[str, Pace] = {}
        self._reported = False

    def began(self, job: Job) -> None:
        self._running[JobKey(job.tenant, job.id)] = (job, Underway(task_of(job)))

    def progressed(self, job: Job, progress: float) -> None:
        key = JobKey(job.tenant, job.id)
        known = self._running.get(key)
        if known is None:
            return
        self._running[key] = (job, known[1].progressed(progress, self._monotonic()))
        line = known[1].task.line
        at_work = sum(
            underway.begun_s is not None and underway.task.line == line
            for _, underway in self._running.values()
        )
        pace = self._paces.get(line, Pace())
        self._paces[line] = replace(pace, lanes=max(pace.lanes, at_work))

    def ended(self, job: Job) -> None:
        """Jobs that are complete become measurements of their line."""
        known = self._running.pop(JobKey(job.tenant, job.id), None)
        if known is None:
            return
        underway = known[1]
        whole_s = underway.whole_s(self._monotonic())
        if whole_s is not None and underway.progress >= MOST_OF_IT and underway.task.work_s:
            pace = self._paces.get(underway.task.line, Pace())
            self._paces[underway.task.line] = pace.after(whole_s / underway.task.work_s)

    async def report_forever(self, waiting: Callable[[], Sequence[JobKey]]) -> None:
        """Report every second while there are jobs. `waiting` returns the jobs in the queue, in order."""
        while True:
            await asyncio.sleep(REPORT_S)
            await self.report(waiting()[:FURTHEST])

    async def report(self, waiting: Sequence[JobKey]) -> None:
        await self._read_records(waiting)
        running = list(self._running.values())
        if not (running or waiting or self._reported):
            return
        begun, queued = foresee(
            [underway for _, underway in running],
            [task_of(self._read[key]) if key in self._read else None for key in waiting],
            self._paces,
            self._places,
            self._monotonic(),
        )
        entries = [_foreseen(job, outlook) for (job, _), outlook in zip(running, begun, strict=True)]
        entries += [
            _foreseen(self._read[key], outlook)
            for key, outlook in zip(waiting, queued, strict=True)
            if key in self._read
        ]
        self._reported = bool(entries)
        self._announcer.announce(WorkForeseen(self._runner, tuple(entries)))

    async def _read_records(self, waiting: Sequence[JobKey]) -> None:
        """A few in each report, so that a long queue costs no burst of reads."""
        self._read = {key: self._read[key] for key in waiting if key in self._read}
        unread = [key for key in waiting if key not in self._read]
        try:
            for key in unread[:READS_A_REPORT]:
                job = await self._jobs.find(key.tenant, key.job_id)
                if job is not None:
                    self._read[key] = job
        except (StoreError, DomainError) as error:
            logger.debug("records of waiting jobs are not read: %r", error)


def task_of(job: Job) -> Task:
    """What the job needs, as far as its parameters show it."""
    try:
        match job.kind:
            case JobKind.GENERATE:
                node = GenerateSpec.from_record(job.params).node
                return Task(f"{job.kind}/{node.params.get('model')}", node.duration_s)
            case JobKind.PROCESS:
                spec = ProcessSpec.from_record(job.params)
                # The stages that a plan has decide as much as its model.
                return Task(f"{job.kind}/{spec.plan}", spec.source.duration_s)
            case JobKind.STEMS:
                return Task(f"{job.kind}/{StemsSpec.from_record(job.params).model}")
            case _:
                return Task(str(job.kind))
    except (KeyError, TypeError, ValueError, AttributeError):  # its handler reports that
        return Task(str(job.kind))


def _foreseen(job: Job, outlook: Outlook) -> JobForeseen:
    return JobForeseen(job.tenant, job.id, job.chain_id, job.node_id, outlook.queue_position, outlook.eta_s)
