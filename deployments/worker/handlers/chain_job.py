"""What the jobs that publish in a chain have in common: the chain says how they end, whoever ends them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime

from deployments.worker.handlers.handler import Progress
from storage.domain.derivations import DerivationNotFound
from storage.domain.jobs import Job, JobState
from storage.domain.model import (
    Chain,
    ChainDeleted,
    ChainNotFound,
    Failure,
    Fenced,
    NodeNotFound,
    Refused,
)
from storage.domain.outcomes import CHAIN_GONE, Outcome, cancel_work, outcome_in_chain
from storage.repositories.chains import Chains

ChainEdit = Callable[[Chain, datetime], Chain]


class ChainHandler(ABC):
    """Satisfies `JobHandler`. The commit point is the chain: what the job makes is ready in it, or it is not."""

    def __init__(self, chains: Chains) -> None:
        self._chains = chains

    @abstractmethod
    async def ensure(self, job: Job) -> None:
        """Bring what the job will make into its chain, pending; nothing happens if it is there. Raises Refused,
        NodeNotFound, ChainDeleted, ChainNotFound."""

    @abstractmethod
    def started(self, chain: Chain, job: Job, now: datetime) -> Chain:
        """With the job's fence copied into what it makes. Raises Fenced."""

    @abstractmethod
    def failed(self, chain: Chain, job: Job, failure: Failure, now: datetime) -> Chain:
        """With what the job makes marked failed. Raises Fenced."""

    @abstractmethod
    async def run(self, job: Job, on_progress: Progress) -> Outcome: ...

    async def open(self, job: Job) -> Outcome | None:
        try:
            await self.ensure(job)
            chain = await self._change(job, lambda chain, now: self.started(chain, job, now))
        except (ChainDeleted, ChainNotFound):
            return CHAIN_GONE
        except (Refused, NodeNotFound, DerivationNotFound) as error:
            return Outcome(JobState.FAILED, error=Failure("conflict", str(error)))
        return outcome_in_chain(chain, job) or await self._cancelled_in_record(job)

    async def decided(self, job: Job) -> Outcome | None:
        chain = await self._chains.find(job.tenant, str(job.chain_id))
        return outcome_in_chain(chain, job) or await self._cancelled_in_record(job)

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        try:
            return await self.end(
                job, lambda chain, now: self.failed(self.started(chain, job, now), job, failure, now)
            )
        except (
            NodeNotFound,
            DerivationNotFound,
        ):  # every attempt died before it could bring it into the chain
            return Outcome(JobState.FAILED, error=failure)

    async def clean_up(self, job: Job) -> None:
        return

    async def end(self, job: Job, edit: ChainEdit) -> Outcome:
        """Make the edit that ends the job. Raises Fenced if it did not end it."""
        try:
            chain = await self._change(job, edit)
        except (ChainDeleted, ChainNotFound):
            return CHAIN_GONE
        outcome = outcome_in_chain(chain, job)
        if outcome is None:
            raise Fenced(f"job {job.id} did not end what it makes")
        return outcome

    async def _cancelled_in_record(self, job: Job) -> Outcome | None:
        """A cancellation that came before the chain had what the job makes, so that the record alone has it."""
        if not job.cancel_requested:
            return None
        try:
            return await self.end(job, lambda chain, now: cancel_work(chain, job, now))
        except (NodeNotFound, DerivationNotFound):
            return Outcome(JobState.CANCELLED)

    async def _change(self, job: Job, edit: ChainEdit) -> Chain:
        return await self._chains.change(job.tenant, str(job.chain_id), edit)
