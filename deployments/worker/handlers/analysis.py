"""Jobs that analyse a node."""

from __future__ import annotations

from typing import Any

from deployments.stages.analyse import AnalyseStage
from deployments.worker.handlers.deriving import DerivingHandler
from deployments.worker.handlers.handler import Progress
from storage.domain.derivations import Made
from storage.domain.jobs import Job
from storage.domain.model import Derived, DerivedKind, Node, NodeAudio
from storage.repositories.chains import Chains


class AnalysisHandler(DerivingHandler):
    def __init__(self, chains: Chains, stage: AnalyseStage) -> None:
        super().__init__(chains, wanted_analysis)
        self._stage = stage

    async def make(self, job: Job, node: Node, audio: NodeAudio, on_progress: Progress) -> Made:
        return await self._stage.run(
            job.tenant, f"{job.id}-{job.fence}", audio, wants_melody=bool(job.params["melody"])
        )


def wanted_analysis(job: Job) -> Derived:
    return Derived(
        job_id=job.id,
        kind=DerivedKind.ANALYSIS,
        created_at=job.created_at,
        params={"melody": job.params["melody"]},
    )


def analysis_params(chain_id: str, node_id: str, melody: bool) -> dict[str, Any]:
    """The parameters of an analysis job's record."""
    return {"chain_id": chain_id, "node_id": node_id, "melody": melody}
