"""The `Generator` deployment: one model on its share of a GPU. Arrays in, arrays out, nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from ray import serve

from configs.settings import Settings
from deployments.engines.families import ServedModel
from deployments.engines.music.protocol import Engine, GenerationEvent, GenerationRequest
from deployments.serve.handles import ACCEPTED
from deployments.serve.replica import EngineReplica, Origin
from deployments.telemetry.batch import BatchMeter
from deployments.telemetry.context import open_span
from deployments.telemetry.recorder import RayRecorder


class Generator(EngineReplica[Engine]):
    async def __init__(self, model: ServedModel[Any], settings: Settings, hub: Any) -> None:  # type: ignore[misc]
        await super().__init__(model, settings, hub, meter=BatchMeter(RayRecorder()))

    async def generate(
        self, request: GenerationRequest, origin: Origin | None = None
    ) -> AsyncIterator[GenerationEvent]:
        """As `MusicGenerator.generate`. The engine's time counts from the take's first step, not while it waits."""
        tenant = (origin or {}).get("tenant", "")
        has_begun = False
        end_span = open_span(origin, "generate")
        try:
            async with aclosing(self._engine.generate(request)) as events:  # type: ignore[type-var]
                async for event in events:
                    if not has_begun and event != ACCEPTED:
                        has_begun = True
                        self._clock.begin(tenant)
                    self._clock.settle()
                    yield event
        finally:
            end_span()
            if has_begun:
                self._clock.end(tenant)


GeneratorDeployment = serve.deployment(
    name="Generator", max_ongoing_requests=24, ray_actor_options={"num_cpus": 0.5}
)(Generator)
"""Logical CPUs are small, here and below, so that everything fits on one core; deploy files say otherwise."""
