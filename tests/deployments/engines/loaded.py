"""Engines and requests for tests. Each tiny model is made and loaded once per test process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deployments.audio.samples import Samples
from deployments.engines.common.device import Device
from deployments.engines.music.catalog import EngineKind, EngineOptions, find
from deployments.engines.music.protocol import (
    GenerationEvent,
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    MusicGenerator,
    Prefilled,
    Sampling,
    Segment,
)

if TYPE_CHECKING:
    from deployments.engines.music.batching.engine import SegueEngine
    from deployments.engines.music.reference.engine import AudiocraftEngine


TINY = EngineOptions(device=Device.CPU, threads=1)
"""One torch thread: these models are too small for two, and tests may share the machine."""


@cache
def model_cache() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="segue-test-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def tiny_engine(name: str = "tiny") -> SegueEngine:
    from deployments.engines.music.batching.engine import SegueEngine

    return SegueEngine(find(name), cache_dir=model_cache(), options=TINY)


@cache
def stock_engine(name: str = "tiny") -> AudiocraftEngine:
    from deployments.engines.music.reference.engine import AudiocraftEngine

    return AudiocraftEngine(
        find(name, EngineKind.AUDIOCRAFT), cache_dir=model_cache(), device=Device.CPU, threads=1
    )


def make_request(
    *,
    mode: GenerationMode = GenerationMode.TEXT,
    prompt: str = "slow jazz piano",
    duration_s: float = 0.4,
    seed: int = 1,
    context: Samples | None = None,
    **sampling: Any,
) -> GenerationRequest:
    return GenerationRequest("test", mode, prompt, duration_s, Sampling(seed, **sampling), context)


def chord(duration_s: float, channels: int = 1, rate_hz: int = 32_000, root_hz: float = 220.0) -> Samples:
    """A decaying chord struck twice a second, different in each channel, about -20 dBFS."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    decay = np.exp(-4 * (time_s % 0.5))
    rows = [
        0.12
        * decay
        * sum(np.sin(2 * np.pi * root_hz * ratio * (channel + 1) * time_s) for ratio in (1, 1.25, 1.5))
        for channel in range(channels)
    ]
    return np.array(rows, np.float32)


@dataclass(frozen=True, slots=True)
class Heard:
    """A generation that has been collected."""

    events: list[GenerationEvent]

    @property
    def progress(self) -> list[float]:
        return [event.fraction for event in self.events if isinstance(event, GenerationProgress)]

    @property
    def reconstruction(self) -> Samples:
        (prefilled,) = (event for event in self.events if isinstance(event, Prefilled))
        return prefilled.reconstruction

    @property
    def audio(self) -> Samples:
        return np.concatenate([event.samples for event in self.events if isinstance(event, Segment)], axis=1)


async def hear(generator: MusicGenerator, request: GenerationRequest) -> Heard:
    return Heard([event async for event in generator.generate(request)])


def level_db(audio: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(audio, dtype=np.float64))))
