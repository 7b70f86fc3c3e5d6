"""Separate a track into stems, and keep what the stems leave of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, aclosing
from typing import Any

import numpy as np

from deployments.audio.resample import StreamingResampler, to_channels
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.audio.wav import BYTES_PER_SAMPLE, HEADER_BYTES
from deployments.engines.common.describe import plain
from deployments.engines.common.errors import UnknownModel
from deployments.engines.separation.options import Rest, SeparationOptions
from deployments.engines.separation.protocol import Separator, SeparatorInfo
from deployments.engines.separation.track import separate_track
from deployments.stages.pipeline.blocks import Progress, blocks_of, combine, difference
from deployments.stages.pipeline.workspace import MIX, Workspace
from storage.domain.model import Track

RESIDUAL = "residual"
"""The mix without all stems, so that stems and residual add up to it."""

VERSION = 1
"""Raised whenever the same request would give other samples."""

_CONVERTED = "mix-for-the-model"

HIGHEST_MODEL_RATE_HZ = 48_000
"""No separator works at a higher rate."""


def disk_bytes(samples: int, rate_hz: int, channels: int, sources: int) -> int:
    """The most temporary disk that a track with `samples` of each channel needs: the mix, the mix in the model's
    format, the stems of so many sources and the residual. No other stage of the pipeline needs more."""
    track = HEADER_BYTES + samples * channels * BYTES_PER_SAMPLE
    model_s = samples / rate_hz
    converted = HEADER_BYTES + round(model_s * HIGHEST_MODEL_RATE_HZ) * 2 * BYTES_PER_SAMPLE
    return (2 + max(sources, 3)) * track + converted


class SeparationStage:
    """Satisfies `PipelineStage`. `separators` are by model name."""

    name = "separation"
    share = 10.0

    def __init__(
        self, separators: Mapping[str, Separator], model: str, options: SeparationOptions, in_flight: int = 2
    ) -> None:
        self._separators = separators
        self._model = model
        self._options = options
        self._in_flight = in_flight

    @property
    def params(self) -> Mapping[str, Any]:
        return {"model": self._model, **options_to_record(self._options), "version": VERSION}

    def missing(self, names: Sequence[str]) -> str | None:
        return None if MIX in names else "the mix is missing"

    async def run(self, workspace: Workspace, on_progress: Progress) -> Sequence[Track]:
        """The stems in the mix's own format and length, and the residual. Raises EngineError."""
        separator = self._separators.get(self._model)
        if separator is None:
            raise UnknownModel(f"no separator {self._model} is served here")
        info = await separator.info()
        mix = await workspace.read(MIX)
        stems = await self._separate(separator, info, mix, workspace, on_progress)
        await combine(workspace, RESIDUAL, [MIX, *stems], difference)
        return [await workspace.store(name) for name in (*stems, RESIDUAL)]

    async def describe(self) -> dict[str, Any]:
        """What made the stems, for provenance. Raises EngineError."""
        return (await self._separators[self._model].info()).describe() | {"params": dict(self.params)}

    async def _separate(
        self,
        separator: Separator,
        info: SeparatorInfo,
        mix: TrackReader,
        workspace: Workspace,
        on_progress: Progress,
    ) -> list[str]:
        source = mix
        if (mix.rate_hz, mix.channels) != (info.sample_rate_hz, info.channels):
            source = await _converted(mix, info, workspace)
        stretches = separate_track(
            separator,
            source,
            options=self._options,
            on_progress=lambda progress: on_progress(progress.fraction),
            in_flight=self._in_flight,
        )
        writers: dict[str, _StemWriter] = {}
        with ExitStack() as stack:
            async with aclosing(stretches):
                async for stretch in stretches:
                    for name in (name for name in stretch if name not in writers):
                        writer = stack.enter_context(workspace.create(name, mix.rate_hz, mix.channels))
                        writers[name] = _StemWriter(writer, info, mix.samples)
                    await asyncio.to_thread(_write, writers, stretch)
            for stem in writers.values():
                await asyncio.to_thread(stem.finish)
        return list(writers)


class _StemWriter:
    """A stem on its way from the model's format back into the track's, to exactly the track's length."""

    def __init__(self, writer: TrackWriter, info: SeparatorInfo, samples: int) -> None:
        self._writer = writer
        self._samples = samples
        self._resampler = StreamingResampler(info.sample_rate_hz, writer.rate_hz, writer.channels)

    def push(self, samples: Samples) -> None:
        self._append(self._resampler.push(to_channels(samples, self._writer.channels)))

    def finish(self) -> None:
        self._append(self._resampler.finish())
        # Two roundings of the length, there and back, may differ from none.
        self._append(np.zeros((self._writer.channels, self._samples - self._writer.samples), np.float32))

    def _append(self, samples: Samples) -> None:
        self._writer.append(samples[:, : self._samples - self._writer.samples])


def _write(writers: Mapping[str, _StemWriter], stretch: Mapping[str, Samples]) -> None:
    for name, samples in stretch.items():
        writers[name].push(samples)


async def _converted(mix: TrackReader, info: SeparatorInfo, workspace: Workspace) -> TrackReader:
    resampler = StreamingResampler(mix.rate_hz, info.sample_rate_hz, info.channels)
    with workspace.create(_CONVERTED, info.sample_rate_hz, info.channels) as writer:

        def convert(block: Samples) -> None:
            writer.append(resampler.push(to_channels(block, info.channels)))

        async for block in blocks_of(mix):
            await asyncio.to_thread(convert, block)
        writer.append(await asyncio.to_thread(resampler.finish))
    return await workspace.read(_CONVERTED)


def options_to_record(options: SeparationOptions) -> dict[str, Any]:
    """JSON-able, with a key for each field."""
    record: dict[str, Any] = plain(options)
    return record


def options_from_record(record: Mapping[str, Any]) -> SeparationOptions:
    """Of a record that `options_to_record` made."""
    stems = tuple(record["stems"]) if record["stems"] is not None else None
    return SeparationOptions(**{**record, "stems": stems, "rest": Rest(record["rest"])})
