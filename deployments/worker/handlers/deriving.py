"""What the jobs have in common that derive something from a node: stems, an analysis."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime

from deployments.specs.derive import ensure_derivation
from deployments.worker.handlers.chain_job import ChainHandler
from deployments.worker.handlers.handler import Progress
from storage.domain import derivations
from storage.domain.derivations import Made
from storage.domain.jobs import Job, JobState
from storage.domain.model import Chain, Failure, NodeAudio
from storage.domain.outcomes import Outcome


class DerivingHandler(ChainHandler):
    @abstractmethod
    async def make(self, job: Job, audio: NodeAudio, on_progress: Progress) -> Made:
        """Derive it from a ready node's audio."""

    async def ensure(self, job: Job) -> None:
        await ensure_derivation(self._chains, job)

    def started(self, chain: Chain, job: Job, now: datetime) -> Chain:
        return derivations.start(chain, str(job.node_id), job.id, job.fence, now)

    def failed(self, chain: Chain, job: Job, failure: Failure, now: datetime) -> Chain:
        return derivations.fail(chain, str(job.node_id), job.id, job.fence, failure, now)

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        chain = await self._chains.load(job.tenant, str(job.chain_id))
        node = chain.node(str(job.node_id))
        if node.audio is None:  # `ensure` has seen it ready, and ready it stays
            return Outcome(JobState.FAILED, error=Failure("conflict", f"node {node.id} has no audio"))
        made = await self.make(job, node.audio, on_progress)
        return await self.end(
            job, lambda chain, now: derivations.publish(chain, node.id, job.id, job.fence, made, now)
        )
