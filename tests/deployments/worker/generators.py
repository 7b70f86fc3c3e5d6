"""Generators that do as a test tells them: good takes, stalls, errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import numpy as np

from deployments.audio.samples import Samples
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    Prefilled,
    Segment,
)

MODEL = "fake"
RATE_HZ = 8_000
TAKE_S = 0.05

INFO = EngineInfo(
    model=MODEL,
    engine="fake",
    engine_version="1",
    weights_sha256="0" * 64,
    licence="MIT",
    sample_rate_hz=RATE_HZ,
    channels=1,
    max_context_s=30.0,
    max_duration_s=30.0,
    modes=tuple(GenerationMode),
    device="cpu",
    dtype="float32",
    reproducible=True,
)


Behaviour = Callable[[GenerationRequest], AsyncGenerator[GenerationEvent, None]]


def take_audio(level: float = 0.1, duration_s: float = TAKE_S) -> Samples:
    return np.full((1, round(duration_s * RATE_HZ)), level, np.float32)


def good(level: float = 0.1, *, after: Callable[[], Awaitable[Any]] | None = None) -> Behaviour:
    """A take of constant `level`, given once `after` has come."""

    async def behave(request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        yield GenerationProgress(0.25)
        if after is not None:
            await after()
        yield Prefilled(np.zeros((1, 0), np.float32))
        yield Segment(take_audio(level, request.duration_s))
        yield GenerationProgress(1.0)

    return behave


def stalled(event: asyncio.Event | None = None, level: float = 0.1) -> Behaviour:
    """Hangs until `event` is set; without one, for good."""
    return good(level, after=(event or asyncio.Event()).wait)


def breaks(error: Exception) -> Behaviour:
    async def behave(request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        yield GenerationProgress(0.5)
        raise error

    return behave


class ScriptedGenerator:
    """A `MusicGenerator` that plays one behaviour for each call, then the last one again (`good()` if none).

    `started` counts calls, `completed` those that ran to their end, `stopped` those ended by the caller.
    """

    def __init__(self, *script: Behaviour) -> None:
        self._script = script or (good(),)
        self.requests: list[GenerationRequest] = []
        self.completed = 0
        self.stopped = 0

    @property
    def started(self) -> int:
        return len(self.requests)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        behave = self._script[min(self.started, len(self._script) - 1)]
        self.requests.append(request)
        try:
            async with aclosing(behave(request)) as events:
                async for event in events:
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            self.stopped += 1
            raise
        self.completed += 1

    async def info(self) -> EngineInfo:
        return INFO
