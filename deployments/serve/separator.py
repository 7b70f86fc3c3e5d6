"""The `Separator` deployment: one separation model on its share of a GPU. A segment in, its sources out.

A replica knows no tracks: see `deployments.engines.separation`.
"""

from __future__ import annotations

from ray import serve

from deployments.engines.separation.protocol import Estimates, SegmentRequest, SeparatorEngine
from deployments.serve.replica import EngineReplica, Origin


class Separator(EngineReplica[SeparatorEngine]):
    async def separate(self, segment: SegmentRequest, origin: Origin | None = None) -> Estimates:
        """As `engines.separation.protocol.Separator.separate`."""
        with self._working(origin, "separate"):
            return await self._engine.separate(segment)


SeparatorDeployment = serve.deployment(
    name="Separator", max_ongoing_requests=16, ray_actor_options={"num_cpus": 0.1}
)(Separator)
