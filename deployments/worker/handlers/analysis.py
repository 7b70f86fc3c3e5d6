"""Jobs that analyse a node."""

from __future__ import annotations

from deployments.specs.derive import AnalysisSpec
from deployments.stages.analyse import AnalyseStage
from deployments.worker.handlers.deriving import DerivingHandler
from deployments.worker.handlers.handler import Progress
from storage.domain.derivations import Made
from storage.domain.jobs import Job
from storage.domain.model import NodeAudio
from storage.repositories.chains import Chains


class AnalysisHandler(DerivingHandler):
    def __init__(self, chains: Chains, stage: AnalyseStage) -> None:
        super().__init__(chains)
        self._stage = stage

    async def make(self, job: Job, audio: NodeAudio, on_progress: Progress) -> Made:
        spec = AnalysisSpec.from_record(job.params)
        return await self._stage.run(job.tenant, f"{job.id}-{job.fence}", audio, wants_melody=spec.melody)
