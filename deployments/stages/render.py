"""A chain's nodes as audio: fetched, checked, and rendered as one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np

from deployments.audio.resample import StreamingResampler, resample, to_channels
from deployments.audio.samples import Samples
from deployments.audio.seam.line import (
    LineRenderer,
    Piece,
    PieceLength,
    Stretch,
    Window,
    plan_window,
    render_line,
    render_tail,
)
from deployments.audio.track import BLOCK_SAMPLES, TrackReader
from deployments.audio.wav import BYTES_PER_SAMPLE, HEADER_BYTES, decode_wav
from deployments.stages.frames import read_samples
from deployments.stages.node_audio import NodeSounds
from deployments.stages.pipeline.blocks import blocks_of
from storage.domain.model import NodeAudio
from storage.repositories.blobs import Blobs


class Lines:
    """Renders stretches of a tree."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._sounds = NodeSounds(blobs)

    async def render(self, tenant: str, line: Sequence[NodeAudio]) -> Samples:
        """The whole line, float32 [channels, samples], in its first node's format: as long as its nodes
        together. Raises BlobCorrupt, StoreError."""
        pieces = [await self._piece(tenant, audio, line[0]) for audio in line]
        return await asyncio.to_thread(render_line, pieces, line[0].sample_rate_hz)

    async def blocks(
        self, tenant: str, line: Sequence[NodeAudio], folder: Path, start: int = 0, end: int | None = None
    ) -> AsyncIterator[Samples]:
        """What `window` gives, a block at a time: one node's file at a time lies in `folder`, and memory holds a
        few blocks, however long the line is. Raises BlobCorrupt, StoreError, OSError."""
        like = line[0]
        window = _plan(line, start, line_samples(line) if end is None else end)
        renderer = LineRenderer(window, like.channels)
        for stretch in window.stretches:
            audio = line[stretch.piece]
            renderer.begin(
                await self._lead_in(tenant, audio, like) if stretch.piece in window.lead_ins else None
            )
            async for block in self._sound(tenant, audio, like, stretch, folder):
                yield renderer.push(block)

    async def window(self, tenant: str, line: Sequence[NodeAudio], start: int, end: int) -> Samples:
        """Samples `start` to `end` (excluded) of the line as `render` gives it, float32 [channels, end - start].
        Only what sounds in them is fetched, so memory holds little more than they are.

        Raises BlobCorrupt, StoreError.
        """
        like = line[0]
        window = _plan(line, start, end)
        stretches = [
            np.concatenate(
                [block async for block in self._sound(tenant, line[each.piece], like, each)], axis=1
            )
            for each in window.stretches
        ]
        lead_ins = {
            index: lead_in
            for index in window.lead_ins
            if (lead_in := await self._lead_in(tenant, line[index], like)) is not None
        }
        if not stretches:
            return np.zeros((like.channels, 0), np.float32)
        return await asyncio.to_thread(window.render, stretches, lead_ins)

    async def _sound(
        self, tenant: str, audio: NodeAudio, like: NodeAudio, wanted: Stretch, folder: Path | None = None
    ) -> AsyncIterator[Samples]:
        """A stretch of a node in the line's format, in blocks, of which one at least. A whole node is fetched into
        `folder`, if there is one: as a stretch its blob would be read twice, once to be checked."""
        yield np.zeros((like.channels, 0), np.float32)
        if wanted.start == wanted.end:
            return
        # At another rate a sample depends on all before it: the node is resampled from its beginning on.
        is_resampled = audio.sample_rate_hz != like.sample_rate_hz
        first, last = (0, audio.samples) if is_resampled else (wanted.start, wanted.end)
        is_whole = wanted.end - wanted.start == _length_like(audio, like.sample_rate_hz).samples
        own = (
            self._fetched(tenant, audio, folder / "piece.wav")
            if folder is not None and is_whole
            else self._read(tenant, audio, first, last)
        )
        resampler = StreamingResampler(audio.sample_rate_hz, like.sample_rate_hz, audio.channels)
        position = first

        def cut(resampled: Samples) -> Samples:
            nonlocal position
            block = resampled[:, max(0, wanted.start - position) : max(0, wanted.end - position)]
            position += resampled.shape[1]
            return to_channels(block, like.channels)

        async with aclosing(own):
            async for block in own:
                yield cut(await asyncio.to_thread(resampler.push, block))
                if position >= wanted.end:
                    return
        yield cut(await asyncio.to_thread(resampler.finish))

    async def _fetched(self, tenant: str, audio: NodeAudio, file: Path) -> AsyncGenerator[Samples, None]:
        """A whole node, block by block, by way of a file."""
        try:
            await self._sounds.fetch(tenant, audio, file)
            async for block in blocks_of(await asyncio.to_thread(TrackReader, file)):
                yield block
        finally:
            await asyncio.to_thread(file.unlink, missing_ok=True)

    async def _read(
        self, tenant: str, audio: NodeAudio, first: int, last: int
    ) -> AsyncGenerator[Samples, None]:
        for start in range(first, last, BLOCK_SAMPLES):
            yield await read_samples(self._blobs, tenant, audio, start, min(BLOCK_SAMPLES, last - start))

    async def render_tail(self, tenant: str, line: Sequence[NodeAudio], duration_s: float) -> Samples:
        """The last `duration_s` of the line as `render` gives it; all of it if it is shorter.

        Fetches only the nodes that sound in it.
        """
        rate_hz = line[0].sample_rate_hz
        last = _sounding_in_tail(line, duration_s)
        pieces = [await self._piece(tenant, audio, line[0]) for audio in last]
        return await asyncio.to_thread(render_tail, pieces, rate_hz, duration_s)

    async def _piece(self, tenant: str, audio: NodeAudio, like: NodeAudio) -> Piece:
        data = await self._sounds.get(tenant, audio)
        samples = await asyncio.to_thread(_decode_like, data, like.sample_rate_hz, like.channels)
        return Piece(samples, await self._lead_in(tenant, audio, like))

    async def _lead_in(self, tenant: str, audio: NodeAudio, like: NodeAudio) -> Samples | None:
        if audio.lead_in is None:
            return None
        data = await self._blobs.get(tenant, audio.lead_in)
        return await asyncio.to_thread(_decode_like, data, like.sample_rate_hz, like.channels)


def line_samples(line: Sequence[NodeAudio]) -> int:
    """How long the rendered line is, in samples per channel at its first node's rate."""
    return sum(_length_like(audio, line[0].sample_rate_hz).samples for audio in line)


def _plan(line: Sequence[NodeAudio], start: int, end: int) -> Window:
    rate_hz = line[0].sample_rate_hz
    return plan_window([_length_like(audio, rate_hz) for audio in line], rate_hz, start, end)


def _decode_like(data: bytes, rate_hz: int, channels: int) -> Samples:
    samples, own_rate_hz = decode_wav(data)
    return to_channels(resample(samples, own_rate_hz, rate_hz), channels)


def _length_like(audio: NodeAudio, rate_hz: int) -> PieceLength:
    """At the line's rate. A stored WAV's size says how long it is, so no lead-in is fetched before its turn."""
    lead_in_samples = 0
    if audio.lead_in is not None:
        lead_in_samples = (audio.lead_in.size_bytes - HEADER_BYTES) // (audio.channels * BYTES_PER_SAMPLE)
    return PieceLength(
        *(round(count * rate_hz / audio.sample_rate_hz) for count in (audio.samples, lead_in_samples))
    )


def _sounding_in_tail(line: Sequence[NodeAudio], duration_s: float) -> Sequence[NodeAudio]:
    """The last nodes that reach over `duration_s`, and those before them that a seam within it reaches back to."""
    total = line_samples(line)
    window = _plan(line, max(0, total - round(duration_s * line[0].sample_rate_hz)), total)
    return line[min((stretch.piece for stretch in window.stretches), default=len(line) - 1) :]
