"""Jobs as clients see them, and their cancellation."""

from __future__ import annotations

import logging

from serve_app.jobs.queue import JobQueue
from storage.domain.derivations import DerivationNotFound
from storage.domain.jobs import Job
from storage.domain.model import Chain, ChainDeleted, ChainNotFound, NodeNotFound
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


class JobService:
    def __init__(self, jobs: Jobs, chains: Chains, queue: JobQueue) -> None:
        self._jobs = jobs
        self._chains = chains
        self._queue = queue

    async def read(self, tenant: str, job_id: str) -> Job:
        """The job; the chain's word where the record lags. Raises JobNotFound."""
        job = await self._jobs.load(tenant, job_id)
        return seen_through_chain(await self._chain_of(job), job)

    async def page(self, tenant: str, cursor: str | None, limit: int) -> JobPage:
        return await self._jobs.page(tenant, cursor=cursor, limit=limit)

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
