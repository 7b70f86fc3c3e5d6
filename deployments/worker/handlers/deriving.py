"""What the jobs have in common that derive something from a node: stems, an analysis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from datetime import datetime

from deployments.worker.handlers.chain_job import ChainHandler
from deployments.worker.handlers.handler import Progress
from storage.domain import derivations
from storage.domain.derivations import Made
from storage.domain.jobs import Job, JobState
from storage.domain.model import Chain, Derived, Failure, Node, NodeAudio
from storage.domain.outcomes import Outcome
from storage.repositories.chains import Chains

Wanted = Callable[[Job], Derived]
"""What a job is to derive, pending."""


class DerivingHandler(ChainHandler):
    def __init__(self, chains: Chains, wanted: Wanted) -> None:
        super().__init__(chains)
        self._wanted = wanted

    @abstractmethod
    async def make(self, job: Job, node: Node, audio: NodeAudio, on_progress: Progress) -> Made:
        """Derive it from a ready node and its audio."""

    async def ensure(self, job: Job) -> None:
        await ensure_derivation(self._chains, job, self._wanted)

    def started(self, chain: Chain, job: Job, now: datetime) -> Chain:
        return derivations.start(chain, str(job.node_id), job.id, job.fence, now)

    def failed(self, chain: Chain, job: Job, failure: Failure, now: datetime) -> Chain:
        return derivations.fail(chain, str(job.node_id), job.id, job.fence, failure, now)

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        chain = await self._chains.load(job.tenant, str(job.chain_id))
        node = chain.node(str(job.node_id))
        if node.audio is None:  # `ensure` has seen it ready, and ready it stays
            return Outcome(JobState.FAILED, error=Failure("conflict", f"node {node.id} has no audio"))
        made = await self.make(job, node, node.audio, on_progress)
        return await self.end(
            job, lambda chain, now: derivations.publish(chain, node.id, job.id, job.fence, made, now)
        )


async def ensure_derivation(chains: Chains, job: Job, wanted: Wanted) -> Chain:
    """Bring what a job derives into its chain, pending. Idempotent: the ingress does it when it accepts a job, the
    runner again. Raises Refused, NodeNotFound, ChainDeleted, ChainNotFound."""
    derived = wanted(job)
    return await chains.change(
        job.tenant,
        str(job.chain_id),
        lambda chain, now: derivations.add(chain, str(job.node_id), derived, now),
    )
