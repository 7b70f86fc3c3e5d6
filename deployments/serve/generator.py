"""The `Generator` deployment: one model on its share of a GPU. Arrays in, arrays out, nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from ray import serve

from configs.settings import Settings
from deployments.engines.families import ServedModel
from deployments.engines.music.protocol import Engine, GenerationEvent, GenerationRequest
from deployments.serve.replica import EngineReplica
from deployments.telemetry.metrics import GeneratorMetrics


class Generator(EngineReplica[Engine]):
    async def __init__(self, model: ServedModel[Any], settings: Settings, hub: Any) -> None:  # type: ignore[misc]
        await super().__init__(model, settings, hub, meter=GeneratorMetrics())

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        """As `MusicGenerator.generate`."""
        async with aclosing(self._engine.generate(request)) as events:  # type: ignore[type-var]
            async for event in events:
                yield event


GeneratorDeployment = serve.deployment(
    name="Generator", max_ongoing_requests=24, ray_actor_options={"num_cpus": 0.5}
)(Generator)
"""Logical CPUs are small, here and below, so that everything fits on one core; deploy files say otherwise."""
