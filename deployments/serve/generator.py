"""The `Generator` deployment: one model on its share of a GPU. Arrays in, arrays out, nothing else.

A replica never waits on storage, HTTP or ffmpeg, and keeps no state that a request depends on.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from ray import serve

from configs.settings import Settings
from deployments.engines.music import catalog as registry
from deployments.engines.music.load import load
from deployments.engines.music.needs import of_generator
from deployments.engines.music.protocol import Engine, GenerationEvent, GenerationRequest
from deployments.serve.engine_options import engine_options
from deployments.serve.gpu import gpu_share
from deployments.serve.replica import EngineReplica
from deployments.telemetry.logs import configure_logging
from deployments.telemetry.metrics import GeneratorMetrics

logger = logging.getLogger("segue.generator")


class Generator(EngineReplica[Engine]):
    """Loads its model before it is ready, so that no request waits for weights."""

    async def __init__(self, model: str, settings: Settings, hub: Any) -> None:  # type: ignore[misc]
        configure_logging(settings)
        self._engine = await self._loaded(
            lambda: of_generator(registry.find(model, registry.EngineKind(settings.models.engine))),
            partial(
                load,
                model,
                cache_dir=Path(settings.models.cache_dir),
                options=engine_options(settings, gpu_share()),
                meter=GeneratorMetrics(),
            ),
            hub,
        )
        logger.info("model ready: %s", (await self._engine.info()).describe())

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        """As `MusicGenerator.generate`."""
        async with aclosing(self._engine.generate(request)) as events:  # type: ignore[type-var]
            async for event in events:
                yield event


GeneratorDeployment = serve.deployment(
    name="Generator", max_ongoing_requests=24, ray_actor_options={"num_cpus": 0.5}
)(Generator)
"""Logical CPUs are small, here and below, so that everything fits on one core; deploy files say otherwise."""
