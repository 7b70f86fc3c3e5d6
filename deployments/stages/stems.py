"""The stems of one node: its audio fetched, separated, and stored in the chain's own format."""

from __future__ import annotations

from collections.abc import Mapping

from deployments.engines.separation.options import SeparationOptions
from deployments.engines.separation.protocol import Separator
from deployments.stages.node_audio import NodeSounds
from deployments.stages.pipeline.blocks import Progress
from deployments.stages.pipeline.separation import SeparationStage
from deployments.stages.pipeline.workspace import MIX, Workspace
from deployments.stages.watch import watch
from deployments.temporary import temporary_folder
from storage.domain.derivations import Made
from storage.domain.model import NodeAudio
from storage.repositories.blobs import Blobs


class StemsStage:
    def __init__(self, blobs: Blobs, separators: Mapping[str, Separator], in_flight: int = 2) -> None:
        self._blobs = blobs
        self._separators = separators
        self._in_flight = in_flight

    async def run(
        self,
        tenant: str,
        owner: str,
        audio: NodeAudio,
        model: str,
        options: SeparationOptions,
        on_progress: Progress,
    ) -> Made:
        """The stems in the model's order, and the residual.

        Raises EngineError, BlobCorrupt, StoreError. Cancelling the task stops it within a segment."""
        stage = SeparationStage(self._separators, model, options, self._in_flight)
        with temporary_folder("stems") as folder:
            workspace = Workspace(folder, self._blobs, tenant, owner)
            await NodeSounds(self._blobs).fetch(tenant, audio, workspace.path(MIX))
            workspace.add(MIX, audio.blob)
            with watch().stage(stage.name):
                tracks = await stage.run(workspace, on_progress)
        return Made(await stage.describe() | {"audio_sha256": audio.sha256}, tuple(tracks))
