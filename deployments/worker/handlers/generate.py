"""Jobs that make a node: a take of MusicGen."""

from __future__ import annotations

from datetime import datetime

from deployments.specs.generate import ensure_node
from deployments.stages.generate import GeneratedNode, GenerateStage
from deployments.worker.handlers.chain_job import ChainHandler
from deployments.worker.handlers.handler import Progress
from deployments.worker.live_segments import broadcasting
from storage.domain import derivations, edits
from storage.domain.jobs import Job
from storage.domain.model import Chain, Derived, DerivedKind, Failure
from storage.domain.outcomes import Outcome
from storage.repositories.chains import Chains
from storage.repositories.segments import Segments


class GenerateHandler(ChainHandler):
    def __init__(self, chains: Chains, stage: GenerateStage, segments: Segments) -> None:
        super().__init__(chains)
        self._stage = stage
        self._segments = segments

    async def ensure(self, job: Job) -> None:
        await ensure_node(self._chains, job)

    def started(self, chain: Chain, job: Job, now: datetime) -> Chain:
        return edits.start(chain, str(job.node_id), job.fence, now)

    def failed(self, chain: Chain, job: Job, failure: Failure, now: datetime) -> Chain:
        return edits.fail(chain, str(job.node_id), job.fence, failure, now)

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        chain = await self._chains.load(job.tenant, str(job.chain_id))
        node = chain.node(str(job.node_id))
        async with broadcasting(self._segments, job, node.duration_s) as broadcast:
            owner = f"{job.id}-{job.fence}"
            made = await self._stage.run(chain, node, owner, on_progress, broadcast.push, job.weight)
            return await self.end(job, lambda chain, now: _published(chain, job, made, now))


def _published(chain: Chain, job: Job, made: GeneratedNode, now: datetime) -> Chain:
    """The node ready, with what was found out about it."""
    node_id = str(job.node_id)
    chain = edits.publish(chain, node_id, job.fence, made.audio, made.provenance, now)
    node = chain.node(node_id)
    if made.analysis is None or not node.can_be_branched or node.audio != made.audio:
        return chain
    derived = Derived(job.id, DerivedKind.ANALYSIS, now, {"melody": False}, fence=job.fence)
    return derivations.attach(chain, node_id, derived, made.analysis, now)
