"""An engine without a model, for development: it gives the source back, at once and without torch.

It is what the music service's mock mode serves (`CF_MUSICGEN_MOCK=1`): a continuation is a copy of the
source's end, repeated up to the asked duration; without a source it is a soft tone whose pitch comes from
prompt and seed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator

import numpy as np

from deployments.audio.samples import Samples
from deployments.engines.common.hosted import MockHosted
from deployments.engines.music.checks import check_request, new_samples
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    Prefilled,
    Segment,
)

_TONE_LEVEL = 0.1
_STEPS = 10


class MockEngine(MockHosted[EngineInfo]):
    """Satisfies `Engine`. `step_delay_s` is waited before each of the 10 steps of a generation, of which each
    gives a tenth of the audio."""

    def __init__(self, *, channels: int = 1, step_delay_s: float = 0.0) -> None:
        self._step_delay_s = step_delay_s
        super().__init__(
            EngineInfo(
                model="mock",
                engine="mock",
                engine_version="1",
                weights_sha256=hashlib.sha256(b"").hexdigest(),
                licence="MIT",
                sample_rate_hz=32_000,
                channels=channels,
                max_context_s=30.0,
                max_duration_s=300.0,
                modes=tuple(GenerationMode),
                device="cpu",
                dtype="float32",
                reproducible=True,
            )
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent]:
        await self.check_health()
        check_request(request, self._info)
        source = self._source(request)
        continues = request.mode is GenerationMode.CONTINUE and source is not None
        nothing = np.zeros((self._info.channels, 0), np.float32)
        count = new_samples(request, self._info)
        audio = self._tone(request, count) if source is None else _cycled(source, count)
        for step, made in enumerate(np.array_split(audio, _STEPS, axis=1)):
            yield GenerationProgress(step / _STEPS)
            await asyncio.sleep(self._step_delay_s)
            if step == 0:
                yield Prefilled(source if continues and source is not None else nothing)
            for start in range(0, made.shape[1], self._info.sample_rate_hz):
                yield Segment(made[:, start : start + self._info.sample_rate_hz])
        yield GenerationProgress(1.0)

    def _source(self, request: GenerationRequest) -> Samples | None:
        """The end of the context, where the mode listens to it and there is any."""
        listens = request.mode in (GenerationMode.CONTINUE, GenerationMode.MELODY)
        if not listens or request.context is None or request.context.shape[1] == 0:
            return None
        most = round(self._info.max_context_s * self._info.sample_rate_hz)
        return request.context[:, -most:].astype(np.float32, copy=True)

    def _tone(self, request: GenerationRequest, count: int) -> Samples:
        digest = hashlib.sha256(f"{request.sampling.seed} {request.prompt}".encode()).digest()
        frequency_hz = 110.0 * 2.0 ** (int.from_bytes(digest[:2], "big") / 65536 * 3)
        tone = _TONE_LEVEL * np.sin(2 * np.pi * frequency_hz * np.arange(count) / self._info.sample_rate_hz)
        return np.tile(tone.astype(np.float32), (self._info.channels, 1))


def _cycled(source: Samples, count: int) -> Samples:
    """The last `count` samples of the source; of a shorter one as many copies as it takes."""
    if source.shape[1] >= count:
        return source[:, -count:].copy()
    copies = -(-count // source.shape[1])
    return np.tile(source, (1, copies))[:, :count]
