"""The `Analyser` deployment: a clip in, what is known of it out."""

from __future__ import annotations

from ray import serve

from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.protocol import AnalyserEngine, AnalysisRequest
from deployments.serve.replica import EngineReplica, Origin


class Analyser(EngineReplica[AnalyserEngine]):
    async def analyse(self, request: AnalysisRequest, origin: Origin | None = None) -> Analysis:
        """As `engines.analysis.protocol.Analyser.analyse`."""
        with self._working(origin, "analyse"):
            return await self._engine.analyse(request)


AnalyserDeployment = serve.deployment(
    name="Analyser", max_ongoing_requests=16, ray_actor_options={"num_cpus": 0.1}
)(Analyser)
