"""Jobs as clients see them, their creation and their cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from configs.settings import JobSettings
from serve_app.http.problems import IdempotencyMismatch, TooManyRequests
from serve_app.jobs.queue import JobQueue
from storage.domain.accounts import NoRoom
from storage.domain.derivations import DerivationNotFound
from storage.domain.ids import derived_id
from storage.domain.jobs import Job, JobKind, JobState, finish
from storage.domain.model import Chain, ChainDeleted, ChainNotFound, Failure, NodeNotFound
from storage.domain.outcomes import (
    CHAIN_GONE,
    Outcome,
    cancel,
    cancel_work,
    outcome_in_chain,
    seen_through_chain,
)
from storage.repositories.chains import Chains
from storage.repositories.jobs import JobKey, JobPage, Jobs
from storage.stores.document import DocumentCorrupt

logger = logging.getLogger("segue.jobs")

RETRY_AFTER_FULL_S = 10.0


class JobService:
    def __init__(self, jobs: Jobs, chains: Chains, queue: JobQueue, settings: JobSettings) -> None:
        self._jobs = jobs
        self._chains = chains
        self._queue = queue
        self._settings = settings

    async def find(self, tenant: str, job_id: str) -> Job | None:
        return await self._jobs.find(tenant, job_id)

    async def read(self, tenant: str, job_id: str) -> Job:
        """The job; the chain's word where the record lags. Raises JobNotFound."""
        job = await self._jobs.load(tenant, job_id)
        return seen_through_chain(await self._chain_of(job), job)

    async def page(self, tenant: str, cursor: str | None, limit: int) -> JobPage:
        return await self._jobs.page(tenant, cursor=cursor, limit=limit)

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
            job = await self.read(tenant, job_id)
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

    async def accept(self, jobs: Sequence[Job]) -> list[Job]:
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
        made = await asyncio.gather(*(self._jobs.create(job) for job in new))
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

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Cancel an unfinished job; a finished one stays as it is, a damaged one has failed. Raises JobNotFound."""
        try:
            job = await self._jobs.load(tenant, job_id)
        except DocumentCorrupt:
            job = await self._jobs.end_damaged(tenant, job_id)
        await self.signal_cancel(tenant, job_id, await self._cancel_in_chain(job))
        return await self.read(tenant, job_id)

    async def _cancel_in_chain(self, job: Job) -> Outcome | None:
        """Cancel what the job makes, if it is unfinished; how it ended, then or before. None if the job makes
        nothing in a chain, or it is not there yet."""
        if not job.kind.publishes_in_a_chain or job.chain_id is None:
            return None
        try:
            chain = await self._chains.change(
                job.tenant, job.chain_id, lambda chain, now: cancel_work(chain, job, now)
            )
        except ChainDeleted:
            return CHAIN_GONE
        except (ChainNotFound, NodeNotFound, DerivationNotFound, DocumentCorrupt):
            return None
        return outcome_in_chain(chain, job)

    async def signal_cancel(self, tenant: str, job_id: str, outcome: Outcome | None) -> None:
        """Ask a job to end; `outcome` is what its chain says of it already. The chain's word stands
        without the job's
        record, which may be damaged."""
        try:
            await self._jobs.change(tenant, job_id, lambda job, now: cancel(job, outcome, now))
        except DocumentCorrupt as error:
            logger.error("a job is not asked to end: %s", error)
        self._queue.look_at(JobKey(tenant, job_id))

    async def _chain_of(self, job: Job) -> Chain | None:
        if not job.chain_id or not job.node_id:
            return None
        try:
            return await self._chains.find(job.tenant, job.chain_id)
        except DocumentCorrupt:  # the record says what it knows
            return None


def _too_many(error: NoRoom) -> TooManyRequests:
    return TooManyRequests(str(error), retry_after_s=RETRY_AFTER_FULL_S)
