"""A chain's nodes as audio: fetched, checked, and rendered as one line."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from deployments.audio.resample import resample, to_channels
from deployments.audio.samples import Samples
from deployments.audio.seam.line import Piece, render_line, render_tail
from deployments.audio.wav import decode_wav
from storage.domain.model import BlobRef, NodeAudio
from storage.repositories.blobs import Blobs


class Lines:
    """Renders stretches of a tree."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def render(self, tenant: str, line: Sequence[NodeAudio]) -> Samples:
        """The whole line, float32 [channels, samples], in its first node's format: as long as its nodes
        together. Raises BlobCorrupt, StoreError."""
        pieces = [await self._piece(tenant, audio, line[0]) for audio in line]
        return await asyncio.to_thread(render_line, pieces, line[0].sample_rate_hz)

    async def render_tail(self, tenant: str, line: Sequence[NodeAudio], duration_s: float) -> Samples:
        """The last `duration_s` of the line as `render` gives it; all of it if it is shorter.

        Fetches only the nodes that sound in it.
        """
        rate_hz = line[0].sample_rate_hz
        last = _sounding_in_tail(line, duration_s)
        pieces = [await self._piece(tenant, audio, line[0]) for audio in last]
        return await asyncio.to_thread(render_tail, pieces, rate_hz, duration_s)

    async def _piece(self, tenant: str, audio: NodeAudio, like: NodeAudio) -> Piece:
        lead_in = await self._samples(tenant, audio.lead_in, like) if audio.lead_in else None
        return Piece(await self._samples(tenant, audio.blob, like), lead_in)

    async def _samples(self, tenant: str, ref: BlobRef, like: NodeAudio) -> Samples:
        data = await self._blobs.get(tenant, ref)
        return await asyncio.to_thread(_decode_like, data, like.sample_rate_hz, like.channels)


def _decode_like(data: bytes, rate_hz: int, channels: int) -> Samples:
    samples, own_rate_hz = decode_wav(data)
    return to_channels(resample(samples, own_rate_hz, rate_hz), channels)


def _sounding_in_tail(line: Sequence[NodeAudio], duration_s: float) -> Sequence[NodeAudio]:
    """The last nodes that reach over `duration_s`, and one more, since a seam sounds on both its sides."""
    reached_s = 0.0
    for index in range(len(line) - 1, -1, -1):
        reached_s += line[index].duration_s
        if reached_s >= duration_s:
            return line[max(0, index - 1) :]
    return line
