"""The one door for work: whoever asks for a job, of whatever kind, is admitted here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from configs.settings import JobSettings
from deployments.telemetry.context import carried_by_request
from serve_app.http.problems import IdempotencyMismatch, TooManyRequests
from serve_app.jobs.idempotency import Earlier, request_id
from serve_app.jobs.queue import JobQueue
from serve_app.jobs.service import JobService
from storage.domain.accounts import NoRoom
from storage.domain.ids import derived_id
from storage.domain.jobs import Job, JobKind, JobState, finish
from storage.domain.model import Failure
from storage.repositories.jobs import JobKey, Jobs
from storage.stores.clock import Clock, utc_now

RETRY_AFTER_FULL_S = 10.0

Good = Callable[[Job], Awaitable[bool]]
"""Whether what an earlier job made is still good."""


class Admission:
    """Finds what the same request made earlier, reserves places within the tenant's bound, makes records durable,
    and pushes the jobs to the runners."""

    def __init__(
        self, jobs: Jobs, service: JobService, queue: JobQueue, settings: JobSettings, clock: Clock = utc_now
    ) -> None:
        self._jobs = jobs
        self._read = service.read
        self._queue = queue
        self._settings = settings
        self._ttl = timedelta(seconds=settings.idempotency_ttl_s)
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
        """A look before any work is done, such as reading an upload; `accept` decides.

        Raises TooManyRequests if the tenant has too many unfinished jobs to add so many.
        """
        try:
            await self._jobs.require_room(tenant, jobs, self._settings.max_active_per_tenant)
        except NoRoom as error:
            raise _too_many(error) from error

    async def admit(self, jobs: Sequence[Job]) -> list[Job]:
        """The one door for work: reserve the jobs' places and make their records durable; those that are there
        already stay as they are. All of one tenant.

        Raises IdempotencyMismatch if one is there that another request made, TooManyRequests for more unfinished
        jobs than the tenant may have, whatever other requests do meanwhile; then nothing is there.
        """
        # Looked for first: making a job anew would leave another entry in the list of jobs.
        found = await asyncio.gather(*(self._jobs.find(job.tenant, job.id) for job in jobs))
        new = [job for job, old in zip(jobs, found, strict=True) if old is None]
        if new:
            try:
                await self._jobs.admit(
                    new[0].tenant, [job.id for job in new], self._settings.max_active_per_tenant
                )
            except NoRoom as error:
                raise _too_many(error) from error
        origin = carried_by_request()
        made = await asyncio.gather(*(self._jobs.create(replace(job, origin=origin)) for job in new))
        created = {job.id: job for job, _ in made}
        kept = [old or created[job.id] for job, old in zip(jobs, found, strict=True)]
        if any(old.request_sha256 != new.request_sha256 for old, new in zip(kept, jobs, strict=True)):
            raise IdempotencyMismatch("this Idempotency-Key was used for another request")
        return list(kept)

    def push(self, jobs: Sequence[Job]) -> None:
        """Tell the runners."""
        for job in jobs:
            if not job.state.is_finished:
                self._queue.submit(JobKey(job.tenant, job.id))

    async def refuse(self, jobs: Sequence[Job], error: Failure) -> None:
        """End accepted jobs whose nodes the chain would not take."""
        for job in jobs:
            await self._jobs.change(
                job.tenant, job.id, lambda job, now: finish(job, JobState.FAILED, now, error=error)
            )


def _too_many(error: NoRoom) -> TooManyRequests:
    return TooManyRequests(str(error), retry_after_s=RETRY_AFTER_FULL_S)
