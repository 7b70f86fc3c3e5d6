"""Jobs that derive stems from a node."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from deployments.engines.separation.options import SeparationOptions
from deployments.jobs.handler import Progress
from deployments.jobs.in_chain import ChainHandler
from deployments.stages.separation import options_from_record, options_to_record
from deployments.stages.stems import StemsStage
from storage.chain import derivations
from storage.chain.jobs import Job, JobState
from storage.chain.model import Chain, Derived, DerivedKind, Failure
from storage.chain.outcomes import Outcome
from storage.chains import Chains


class StemsHandler(ChainHandler):
    def __init__(self, chains: Chains, stage: StemsStage) -> None:
        super().__init__(chains)
        self._stage = stage

    async def ensure(self, job: Job) -> None:
        await ensure_stems(self._chains, job)

    def started(self, chain: Chain, job: Job, now: datetime) -> Chain:
        return derivations.start(chain, str(job.node_id), job.id, job.fence, now)

    def failed(self, chain: Chain, job: Job, failure: Failure, now: datetime) -> Chain:
        return derivations.fail(chain, str(job.node_id), job.id, job.fence, failure, now)

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        chain = await self._chains.load(job.tenant, str(job.chain_id))
        node = chain.node(str(job.node_id))
        if node.audio is None:  # `ensure` has seen it ready, and ready it stays
            return Outcome(JobState.FAILED, error=Failure("conflict", f"node {node.id} has no audio"))
        made = await self._stage.run(
            job.tenant,
            f"{job.id}-{job.fence}",
            node.audio,
            str(job.params["model"]),
            options_from_record(job.params["options"]),
            on_progress,
        )
        return await self.end(
            job,
            lambda chain, now: derivations.publish(
                chain, node.id, job.id, job.fence, made.tracks, made.provenance, now
            ),
        )


async def ensure_stems(chains: Chains, job: Job) -> Chain:
    """Bring a stems job's derivation into its chain. Idempotent: the ingress does it when it accepts a job, the
    runner again. Raises Refused, NodeNotFound, ChainDeleted, ChainNotFound."""
    wanted = Derived(
        job_id=job.id,
        kind=DerivedKind.STEMS,
        created_at=job.created_at,
        params={"model": job.params["model"], **job.params["options"]},
    )
    return await chains.change(
        job.tenant,
        str(job.chain_id),
        lambda chain, now: derivations.add(chain, str(job.node_id), wanted, now),
    )


def stems_params(chain_id: str, node_id: str, model: str, options: SeparationOptions) -> dict[str, Any]:
    """The parameters of a stems job's record."""
    return {
        "chain_id": chain_id,
        "node_id": node_id,
        "model": model,
        "options": options_to_record(options),
    }
