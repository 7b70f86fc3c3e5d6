"""The one door for work: whoever asks for a job, of whatever kind, is admitted here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from configs.settings import Capability, Settings
from deployments.telemetry.context import carried_by_request
from serve_app.access.audit import audited
from serve_app.access.callers import calling
from serve_app.access.quotas import Quotas
from serve_app.http.problems import IdempotencyMismatch
from serve_app.jobs.idempotency import Earlier, request_id
from serve_app.jobs.queue import JobQueue
from serve_app.jobs.service import JobService
from storage.domain.accounts import Amounts, Held, NoRoom
from storage.domain.ids import derived_id
from storage.domain.jobs import Job, JobKind, JobState, finish
from storage.domain.model import Failure
from storage.repositories.jobs import Jobs, key_of
from storage.stores.clock import Clock, utc_now

CAPABILITIES: Mapping[JobKind, Capability] = {
    JobKind.GENERATE: Capability.GENERATE,
    JobKind.STEMS: Capability.STEMS,
    JobKind.PROCESS: Capability.STEMS,
    JobKind.EXPORT: Capability.EXPORT,
}
"""What a tier needs for a job of each kind; an analysis needs nothing."""

ONE_JOB = Amounts(jobs=1)

Good = Callable[[Job], Awaitable[bool]]
"""Whether what an earlier job made is still good."""


class Admission:
    """Finds what the same request made earlier, reserves places within the tenant's bound, makes records durable,
    and pushes the jobs to the runners."""

    def __init__(
        self,
        jobs: Jobs,
        service: JobService,
        queue: JobQueue,
        quotas: Quotas,
        settings: Settings,
        clock: Clock = utc_now,
    ) -> None:
        self._jobs = jobs
        self._read = service.read
        self._queue = queue
        self._quotas = quotas
        self._gpu_s_per_audio_s = settings.access.gpu_s_per_audio_s
        self._ttl = timedelta(seconds=settings.jobs.idempotency_ttl_s)
        self._clock = clock

    async def find(self, tenant: str, job_id: str) -> Job | None:
        """The job's record, None where there is none."""
        return await self._jobs.find(tenant, job_id)

    async def id_of_request(
        self,
        tenant: str,
        route: str,
        key: str | None,
        request_sha256: str,
        *,
        first_job: Callable[[str], str] = lambda request: request,
        is_good: Good | None = None,
    ) -> str:
        """The id that a request's records are named after: random without a key, else the same for the same key and
        body. `first_job` is the id of the request's first job, whose record shows that it came before; one whose
        result is no longer good gives way to a new id.

        Raises IdempotencyMismatch for the same key and another body.
        """

        async def earlier(candidate: str) -> Earlier | None:
            job = await self._jobs.find(tenant, first_job(candidate))
            if job is None:
                return None
            is_over = is_good is not None and not await is_good(job)
            return Earlier(job.request_sha256, job.created_at - self._ttl if is_over else job.created_at)

        return await request_id(
            tenant=tenant,
            route=route,
            key=key,
            request_sha256=request_sha256,
            find=earlier,
            ttl=self._ttl,
            now=self._clock(),
        )

    async def id_of_work(
        self,
        tenant: str,
        kind: JobKind,
        *work: str,
        is_good: Callable[[Job], Awaitable[bool]] | None = None,
    ) -> str:
        """The id of the one job that does this work; another only after one that failed or was cancelled, or whose
        result is no longer good."""
        generation = 0
        while True:
            job_id = derived_id(tenant, kind.value, *work, str(generation))
            if await self._jobs.find(tenant, job_id) is None:
                return job_id
            job = await self._read(tenant, job_id)
            came_to_nothing = job.state in (JobState.FAILED, JobState.CANCELLED)
            if not came_to_nothing and (is_good is None or await is_good(job)):
                return job_id
            generation += 1

    async def require_room(self, tenant: str, jobs: int) -> None:
        """A look before any work is done, such as reading an upload; `admit` decides.

        Raises TooManyRequests if the tenant has too many unfinished jobs to add so many.
        """
        await self._quotas.require_room(tenant, Amounts(jobs=jobs))

    async def admit(self, jobs: Sequence[Job], each: Amounts = ONE_JOB) -> list[Job]:
        """The one door for work: hold what the jobs need and make their records durable; those that are there
        already stay as they are. All of one tenant, by the caller. `each` is what one of them makes or works on
        (`audio_s`) and is expected to store.

        Raises IdempotencyMismatch if one is there that another request made, Forbidden for a kind that the caller's
        tier has not, or so much as no day allows, TooManyRequests for more than the tenant may have now, whatever
        other requests do meanwhile; then nothing is there.
        """
        # Looked for first: making a job anew would leave another entry in the list of jobs.
        found = await asyncio.gather(*(self._jobs.find(job.tenant, job.id) for job in jobs))
        caller = calling()
        new = [
            replace(job, weight=caller.weight, audio_s=each.audio_s)
            for job, old in zip(jobs, found, strict=True)
            if old is None
        ]
        if new:
            for capability in {CAPABILITIES[job.kind] for job in new if job.kind in CAPABILITIES}:
                self._quotas.require(capability)
            try:
                await self._jobs.admit(
                    new[0].tenant, {job.id: self._held(job, each) for job in new}, self._quotas.limits
                )
            except NoRoom as error:
                raise self._quotas.refusal(error) from error
        audited(jobs=[job.id for job in new])
        origin = carried_by_request()
        made = await asyncio.gather(*(self._jobs.create(replace(job, origin=origin)) for job in new))
        created = {job.id: job for job, _ in made}
        kept = [old or created[job.id] for job, old in zip(jobs, found, strict=True)]
        if any(old.request_sha256 != new.request_sha256 for old, new in zip(kept, jobs, strict=True)):
            raise IdempotencyMismatch("this Idempotency-Key was used for another request")
        return list(kept)

    def _held(self, job: Job, each: Amounts) -> Held:
        gpu_s = 0.0 if job.kind is JobKind.EXPORT else each.audio_s * self._gpu_s_per_audio_s
        return Held(job.kind.value, replace(each, jobs=1, gpu_s=each.gpu_s or gpu_s))

    def push(self, jobs: Sequence[Job]) -> None:
        """Tell the runners."""
        for job in jobs:
            if not job.state.is_finished:
                self._queue.submit(key_of(job))

    async def refuse(self, jobs: Sequence[Job], error: Failure) -> None:
        """End accepted jobs whose nodes the chain would not take."""
        for job in jobs:
            await self._jobs.change(
                job.tenant, job.id, lambda job, now: finish(job, JobState.FAILED, now, error=error)
            )
