"""Outlines of nodes' audio: made when a node is published, else on demand, and kept by the audio's hash."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from deployments.audio.peaks import VERSION, PeaksBuilder, peaks_of
from deployments.audio.samples import Samples, SoundFormat
from deployments.stages.frames import read_samples
from storage.domain.model import NodeAudio
from storage.repositories.blobs import Blobs
from storage.repositories.peaks import Peaks, StoredPeaks

CONCURRENT_DRAWINGS = 2
BLOCK_SAMPLES = 2**17


class PeaksStage:
    """Memory holds a block of audio and the outline, however long the audio is."""

    def __init__(self, blobs: Blobs, peaks: Peaks) -> None:
        self._blobs = blobs
        self._peaks = peaks
        self._drawing = asyncio.Semaphore(CONCURRENT_DRAWINGS)

    async def publish(self, tenant: str, audio: NodeAudio, blocks: Iterable[Samples]) -> None:
        """Keep the outline of audio that is at hand, float32 [channels, any number] at a time. Trouble with the
        store does not fail the node: its outline is then made on demand."""
        data = await asyncio.to_thread(peaks_of, blocks, _sound(audio))
        await self._peaks.keep(tenant, _name(audio), data)

    async def of(self, tenant: str, audio: NodeAudio) -> StoredPeaks:
        """The outline, made now if there is none yet. Raises BlobCorrupt, StoreError."""
        found = await self._peaks.find(tenant, _name(audio))
        if found is not None:
            return found
        async with self._drawing:
            found = await self._peaks.find(tenant, _name(audio))  # another request may have made it meanwhile
            return found or await self._peaks.keep(tenant, _name(audio), await self._draw(tenant, audio))

    async def _draw(self, tenant: str, audio: NodeAudio) -> bytes:
        builder = PeaksBuilder(_sound(audio))
        for start in range(0, audio.samples, BLOCK_SAMPLES):
            count = min(BLOCK_SAMPLES, audio.samples - start)
            block = await read_samples(self._blobs, tenant, audio, start, count)
            await asyncio.to_thread(builder.push, block)
        return await asyncio.to_thread(builder.finish)


def _sound(audio: NodeAudio) -> SoundFormat:
    return SoundFormat(audio.sample_rate_hz, audio.channels)


def _name(audio: NodeAudio) -> str:
    return f"{audio.sha256}-{VERSION}"
