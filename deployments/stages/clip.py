"""One clip out of a generator, for callers that keep nothing: no chain, no record, no blob."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from deployments.audio.levels import last_samples
from deployments.audio.resample import mixed_down, resample
from deployments.audio.samples import Samples, SoundFormat
from deployments.engines.music.protocol import GenerationMode, GenerationRequest, MusicGenerator, Sampling
from deployments.stages.generate import listen
from deployments.stages.take import Take


@dataclass(frozen=True, slots=True)
class Source:
    """What a clip continues from: float32 [channels, samples]."""

    samples: Samples
    rate_hz: int


async def make_clip(
    generator: MusicGenerator,
    *,
    request_id: str,
    prompt: str,
    duration_s: float,
    sampling: Sampling,
    wanted: SoundFormat,
    source: Source | None = None,
    on_progress: Callable[[float], None] = lambda fraction: None,
    client: str = "",
    weight: int = 1,
) -> Samples:
    """New audio in the format `wanted`, exactly round(duration_s * rate) samples: made from words alone, or going
    on from `source`, of which the model hears as much as it can take.

    `client` takes turns with others at the generator, by its weight.

    Raises EngineError; cancelling the task stops the generator at its next step.
    """
    info = await generator.info()
    given = SoundFormat(info.sample_rate_hz, info.channels)
    context = heard = None
    if source is not None:
        end = Source(last_samples(source.samples, round(info.max_context_s * source.rate_hz)), source.rate_hz)
        context = await asyncio.to_thread(_in_format, end, given)
        heard = await asyncio.to_thread(_in_format, end, wanted)
    request = GenerationRequest(
        request_id=request_id,
        mode=GenerationMode.TEXT if source is None else GenerationMode.CONTINUE,
        prompt=prompt,
        duration_s=duration_s,
        sampling=sampling,
        context=context,
        client=client,
        weight=weight,
    )
    take = Take(given, wanted, heard, duration_s)
    return (await listen(generator, request, take, on_progress, lambda samples: None)).new


def _in_format(source: Source, wanted: SoundFormat) -> Samples:
    return mixed_down(resample(source.samples, source.rate_hz, wanted.rate_hz), wanted.channels)
