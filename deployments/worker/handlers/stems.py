"""Jobs that derive stems from a node."""

from __future__ import annotations

from typing import Any

from deployments.engines.separation.options import SeparationOptions
from deployments.stages.pipeline.separation import options_from_record, options_to_record
from deployments.stages.stems import StemsStage
from deployments.worker.handlers.deriving import DerivingHandler
from deployments.worker.handlers.handler import Progress
from storage.domain.derivations import Made
from storage.domain.jobs import Job
from storage.domain.model import Derived, DerivedKind, Node, NodeAudio
from storage.repositories.chains import Chains


class StemsHandler(DerivingHandler):
    def __init__(self, chains: Chains, stage: StemsStage) -> None:
        super().__init__(chains, wanted_stems)
        self._stage = stage

    async def make(self, job: Job, node: Node, audio: NodeAudio, on_progress: Progress) -> Made:
        return await self._stage.run(
            job.tenant,
            f"{job.id}-{job.fence}",
            audio,
            str(job.params["model"]),
            options_from_record(job.params["options"]),
            on_progress,
        )


def wanted_stems(job: Job) -> Derived:
    return Derived(
        job_id=job.id,
        kind=DerivedKind.STEMS,
        created_at=job.created_at,
        params={"model": job.params["model"], **job.params["options"]},
    )


def stems_params(chain_id: str, node_id: str, model: str, options: SeparationOptions) -> dict[str, Any]:
    """The parameters of a stems job's record."""
    return {
        "chain_id": chain_id,
        "node_id": node_id,
        "model": model,
        "options": options_to_record(options),
    }
