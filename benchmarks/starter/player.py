"""A generator as the server loads it, asked for whole takes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np

from deployments.audio.samples import Samples
from deployments.engines.common.device import Device
from deployments.engines.music.catalog import EngineOptions, find
from deployments.engines.music.load import load
from deployments.engines.music.protocol import GenerationMode, GenerationRequest, Sampling, Segment


class Player:
    """`spent_s` seconds went into `made_s` seconds of audio so far."""

    def __init__(self, runner: asyncio.Runner, model: str, cache_dir: Path) -> None:
        self._runner = runner
        self._engine = load(find(model), cache_dir=cache_dir, options=EngineOptions(device=Device.CPU))
        runner.run(self._engine.warm_up())
        self.rate_hz = runner.run(self._engine.info()).sample_rate_hz
        self.spent_s = self.made_s = 0.0

    def takes(
        self,
        mode: GenerationMode,
        prompt: str,
        duration_s: float,
        seeds: list[int],
        context: Samples | None = None,
    ) -> list[Samples]:
        """One take for each seed, together: float32 [1, samples] each. `context` is at the model's rate."""
        began_s = time.perf_counter()
        requests = [
            GenerationRequest(f"{seed}", mode, prompt, duration_s, Sampling(seed=seed), context)
            for seed in seeds
        ]
        made = self._runner.run(self._all(requests))
        self.spent_s += time.perf_counter() - began_s
        self.made_s += duration_s * len(seeds)
        samples = round(duration_s * self.rate_hz)
        return [take[:, :samples] for take in made]

    def take(
        self, mode: GenerationMode, prompt: str, duration_s: float, seed: int, context: Samples | None = None
    ) -> Samples:
        return self.takes(mode, prompt, duration_s, [seed], context)[0]

    def close(self) -> None:
        self._runner.run(self._engine.close())

    async def _all(self, requests: list[GenerationRequest]) -> list[Samples]:
        return list(await asyncio.gather(*map(self._one, requests)))

    async def _one(self, request: GenerationRequest) -> Samples:
        parts = [
            event.samples async for event in self._engine.generate(request) if isinstance(event, Segment)
        ]
        return np.concatenate(parts, axis=1)
