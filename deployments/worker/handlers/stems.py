"""Jobs that derive stems from a node."""

from __future__ import annotations

from deployments.specs.derive import StemsSpec
from deployments.stages.stems import StemsStage
from deployments.worker.handlers.deriving import DerivingHandler
from deployments.worker.handlers.handler import Progress
from storage.domain.derivations import Made
from storage.domain.jobs import Job
from storage.domain.model import NodeAudio
from storage.repositories.chains import Chains


class StemsHandler(DerivingHandler):
    def __init__(self, chains: Chains, stage: StemsStage) -> None:
        super().__init__(chains)
        self._stage = stage

    async def make(self, job: Job, audio: NodeAudio, on_progress: Progress) -> Made:
        spec = StemsSpec.from_record(job.params)
        owner = f"{job.id}-{job.fence}"
        return await self._stage.run(job.tenant, owner, audio, spec.model, spec.options, on_progress)
