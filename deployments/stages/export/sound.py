"""The sound of an export: the line's region rendered, mixed, shaped and mastered, block by block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deployments.audio.resample import to_channels
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.audio.wav import BYTES_PER_SAMPLE
from deployments.export.mixing import remixed
from deployments.export.shaping import Shape, Shaper, shaped
from deployments.export.source import SourceLevels, SourceWriter
from deployments.stages.export.order import ExportOrder
from deployments.stages.render import Lines
from deployments.stopping import Stop, in_thread
from storage.domain.model import NodeAudio, Track

Progress = Callable[[float], None]


class Sounds:
    """Renders what an order asks for into files of `folder`, which somebody else removes.

    All raise BlobCorrupt, StoreError, MediaError, and OSError where the disk is full.
    """

    def __init__(self, lines: Lines, tenant: str, order: ExportOrder, folder: Path) -> None:
        self._lines = lines
        self._tenant = tenant
        self._order = order
        self._folder = folder
        options = order.options
        self._shape = Shape(options.rate_hz, options.fade_in_s, options.fade_out_s, options.tail_s)

    async def write_source(self, target: Path, on_progress: Progress) -> SourceLevels:
        """The region, shaped, at the file's rate and with its last steps done, as ffmpeg's source."""
        options = self._order.options
        with SourceWriter(
            target, options.rate_hz, options.channels, options.bit_depth, options.gain_db
        ) as writer:
            await self._shape_into(writer.append, on_progress)
            return await asyncio.to_thread(writer.close)

    async def write_shaped(self, target: Path, on_progress: Progress) -> None:
        """The region, shaped, at the file's rate, as a float32 WAV."""
        options = self._order.options
        with TrackWriter(target, options.rate_hz, options.channels) as writer:
            await self._shape_into(writer.append, on_progress)

    async def write_line(self, target: Path, on_progress: Progress) -> None:
        """The region of the line at its own rate and channels, as a float32 WAV."""
        await self._write_region([node.audio for node in self._order.nodes], target, on_progress)

    async def write_stem(self, name: str, target: Path, on_progress: Progress) -> None:
        """The region of one stem of the line, as `write_line`."""
        await self._write_region(
            [stem_audio(node.stems, name) for node in self._order.nodes], target, on_progress
        )

    async def _write_region(self, line: Sequence[NodeAudio], target: Path, on_progress: Progress) -> None:
        like = self._order.nodes[0].audio
        with TrackWriter(target, like.sample_rate_hz, like.channels) as writer:
            async for block in self._region(line, on_progress):
                await asyncio.to_thread(writer.append, block)

    async def _shape_into(self, append: Callable[[Samples], None], on_progress: Progress) -> None:
        order, (start, end) = self._order, self._order.region
        shaper = Shaper(self._shape, order.rate_hz, order.channels, end - start)
        channels = order.options.channels

        def push(block: Samples) -> None:
            append(to_channels(shaper.push(block), channels))

        async for block in self._blocks(on_progress):
            await asyncio.to_thread(push, block)

        def finish() -> None:
            for block in shaper.finish():
                append(to_channels(block, channels))

        await asyncio.to_thread(finish)

    async def _blocks(self, on_progress: Progress) -> AsyncIterator[Samples]:
        """The region at the line's rate, mixed anew where that was asked for."""
        order = self._order
        if order.options.mix is None:
            async for block in self._region([node.audio for node in order.nodes], on_progress):
                yield block
            return
        names = [stem.name for stem in order.nodes[0].stems]
        parts = 1 + len(names)
        line = self._folder / "line.wav"
        await self.write_line(line, lambda done: on_progress(done / parts))
        stems: dict[str, TrackReader] = {}
        for count, name in enumerate(names, start=1):
            path = self._folder / f"stem-{count}.wav"
            await self.write_stem(name, path, _part(on_progress, count, parts))
            stems[name] = await asyncio.to_thread(TrackReader, path)
        mixed = remixed(
            await asyncio.to_thread(TrackReader, line), stems, dict(order.options.mix), _powers(order, names)
        )
        while True:
            mixed_block: Samples | None = await asyncio.to_thread(_next, mixed)
            if mixed_block is None:
                break
            yield mixed_block
        for path in (line, *(stem.path for stem in stems.values())):
            await asyncio.to_thread(path.unlink)

    async def _region(self, line: Sequence[NodeAudio], on_progress: Progress) -> AsyncIterator[Samples]:
        """The samples of a line that lie in the region; only what sounds in them is fetched."""
        start, end = self._order.region
        done = 0
        async for block in self._lines.blocks(self._tenant, line, self._folder, start, end):
            if block.shape[1]:
                yield block
            done += block.shape[1]
            on_progress(done / (end - start))


def stem_audio(stems: Iterable[Track], name: str) -> NodeAudio:
    """A stem as the audio of a node, without a lead-in. Raises KeyError."""
    for stem in stems:
        if stem.name == name:
            return NodeAudio(
                blob=stem.blob,
                samples=stem.samples,
                sample_rate_hz=stem.sample_rate_hz,
                channels=stem.channels,
                rms_dbfs=stem.rms_dbfs,
                peak_dbfs=stem.peak_dbfs,
            )
    raise KeyError(name)


async def write_take(
    lines: Lines, tenant: str, audio: NodeAudio, order: ExportOrder, start: int, target: Path, folder: Path
) -> None:
    """A node's own audio in the line's channels at the file's rate, from sample `start` of the line's rate on."""
    raw, position = folder / "take.wav", 0
    first = round(start * audio.sample_rate_hz / order.rate_hz)
    with TrackWriter(raw, audio.sample_rate_hz, order.channels) as writer:
        async for block in lines.blocks(tenant, [replace(audio, lead_in=None)], folder):
            kept = to_channels(block[:, max(0, first - position) :], order.channels)
            position += block.shape[1]
            await asyncio.to_thread(writer.append, kept)
    await convert(raw, target, order.options.rate_hz)


async def convert(source: Path, target: Path, rate_hz: int) -> None:
    """A track at another rate, in place of the one at `source`; the same file where the rate is the same."""

    def work(stop: Stop) -> None:
        track = TrackReader(source)
        if track.rate_hz == rate_hz:
            source.replace(target)
            return
        with TrackWriter(target, rate_hz, track.channels) as writer:
            for block in shaped(track, Shape(rate_hz)):
                stop.check()
                writer.append(block)
        source.unlink()

    await in_thread(work)


def raw_blocks(path: Path, channels: int, count: int = 2**18) -> Iterator[Samples]:
    """Bare float32 samples of a file, little-endian and interleaved, as [channels, samples], block by block."""
    with path.open("rb") as file:
        while data := file.read(count * channels * BYTES_PER_SAMPLE):
            yield np.frombuffer(data, "<f4").reshape(-1, channels).T


def _next(blocks: Iterator[Samples]) -> Samples | None:
    return next(blocks, None)


def _powers(order: ExportOrder, names: Sequence[str]) -> Mapping[str, float]:
    powers = dict.fromkeys(names, 0.0)
    for node in order.nodes:
        for stem in node.stems:
            powers[stem.name] += 10.0 ** (stem.rms_dbfs / 10.0) * stem.samples
    return powers


def _part(on_progress: Progress, index: int, parts: int) -> Progress:
    return lambda done: on_progress((index + done) / parts)
