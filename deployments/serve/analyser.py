"""The `Analyser` deployment: a clip in, what is known of it out."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

from ray import serve

from configs.settings import Settings
from deployments.engines.analysis import catalog as registry
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.catalog import AnalyserOptions
from deployments.engines.analysis.load import load
from deployments.engines.analysis.needs import of_analyser
from deployments.engines.analysis.protocol import AnalyserEngine, AnalysisRequest
from deployments.engines.common.device import Device
from deployments.serve.gpu import gpu_share
from deployments.serve.loopback import listen_where_the_node_is
from deployments.serve.replica import EngineReplica
from deployments.telemetry.logs import configure_logging

logger = logging.getLogger("segue.analyser")


class Analyser(EngineReplica[AnalyserEngine]):
    """Loads and warms its models before it is ready, so that no clip waits for them."""

    async def __init__(self, model: str, settings: Settings, hub: Any) -> None:  # type: ignore[misc]
        configure_logging(settings)
        listen_where_the_node_is()
        analysis = settings.analysis
        self._engine = await self._loaded(
            lambda: of_analyser(registry.find(model)),
            partial(
                load,
                model,
                cache_dir=Path(settings.models.cache_dir),
                options=AnalyserOptions(
                    device=Device(analysis.device),
                    melody=analysis.melody,
                    threads=analysis.threads,
                    gpu_memory_fraction=gpu_share(),
                ),
            ),
            hub,
        )
        logger.info("analyser ready: %s", (await self._engine.info()).describe())

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        """As `engines.analysis.protocol.Analyser.analyse`."""
        return await self._engine.analyse(request)


AnalyserDeployment = serve.deployment(
    name="Analyser", max_ongoing_requests=16, ray_actor_options={"num_cpus": 0.1}
)(Analyser)
