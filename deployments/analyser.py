"""The `Analyser` deployment: a clip in, what is known of it out."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ray import serve

from configs.logs import configure_logging
from configs.settings import Settings
from deployments.engines.analysis import registry
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.protocol import AnalyserEngine, AnalyserInfo, AnalysisRequest
from deployments.engines.analysis.registry import AnalyserOptions
from deployments.engines.protocols import Device

logger = logging.getLogger("segue.analyser")


class Analyser:
    """Loads and warms its models before it is ready, so that no clip waits for them."""

    _engine: AnalyserEngine

    async def __init__(self, model: str, settings: Settings) -> None:  # type: ignore[misc]
        configure_logging(settings)
        analysis = settings.analysis
        self._engine = await asyncio.to_thread(
            registry.load,
            model,
            cache_dir=Path(settings.models.cache_dir),
            options=AnalyserOptions(
                device=Device(analysis.device), melody=analysis.melody, threads=analysis.threads
            ),
        )
        await self._engine.warm_up()
        logger.info("analyser ready: %s", (await self._engine.info()).describe())

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        """As `engines.analysis.protocol.Analyser.analyse`."""
        return await self._engine.analyse(request)

    async def info(self) -> AnalyserInfo:
        return await self._engine.info()

    async def check_health(self) -> None:
        await self._engine.check_health()

    async def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            await engine.close()


AnalyserDeployment = serve.deployment(
    name="Analyser", max_ongoing_requests=16, ray_actor_options={"num_cpus": 0.1}
)(Analyser)
