"""A node's whole audio out of its blob: all of the blob, or the part that a crop is.

It is given as a float32 WAV, byte for byte what a blob of that part alone would be. Stretches are read by `frames`.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deployments.audio.levels import decibels_of_power
from deployments.audio.track import BLOCK_SAMPLES
from deployments.audio.wav import wav_header
from deployments.stages.frames import read_frames
from storage.domain.model import NodeAudio
from storage.repositories.blobs import Blobs, removed_after_an_error


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a part of a node's audio: the hash of its WAV, and its levels."""

    sha256: str
    rms_dbfs: float
    peak_dbfs: float


class NodeSounds:
    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def get(self, tenant: str, audio: NodeAudio) -> bytes:
        """The whole WAV, checked. Raises BlobCorrupt."""
        if audio.excerpt is None:
            return await self._blobs.get(tenant, audio.blob)
        return _header(audio, audio.samples) + b"".join(
            [data async for data in self._blocks(tenant, audio, 0, audio.samples)]
        )

    async def fetch(self, tenant: str, audio: NodeAudio, path: Path) -> None:
        """The whole WAV as a file, checked, a block at a time. After an error there is no file.

        Raises BlobCorrupt, OSError.
        """
        if audio.excerpt is None:
            await self._blobs.fetch(tenant, audio.blob, path)
            return
        with removed_after_an_error(path), path.open("wb") as file:
            file.write(_header(audio, audio.samples))
            async for data in self._blocks(tenant, audio, 0, audio.samples):
                await asyncio.to_thread(file.write, data)

    async def measure(self, tenant: str, audio: NodeAudio, first_sample: int, samples: int) -> Measured:
        """Of `samples` frames from `first_sample` of the node's audio on. Reads a block at a time, and measures in
        a thread. Raises BlobCorrupt."""
        meter = _Meter(_header(audio, samples))
        async for data in self._blocks(tenant, audio, first_sample, samples):
            await asyncio.to_thread(meter.push, data)
        return meter.measured()

    async def _blocks(
        self, tenant: str, audio: NodeAudio, first_sample: int, samples: int
    ) -> AsyncIterator[bytes]:
        for start in range(first_sample, first_sample + samples, BLOCK_SAMPLES):
            count = min(BLOCK_SAMPLES, first_sample + samples - start)
            yield await read_frames(self._blobs, tenant, audio, start, count)


class _Meter:
    """Hash and levels of float32 samples that come piece by piece."""

    def __init__(self, header: bytes) -> None:
        self._digest = hashlib.sha256(header)
        self._energy, self._peak, self._values = 0.0, 0.0, 0

    def push(self, data: bytes) -> None:
        self._digest.update(data)
        values = np.frombuffer(data, "<f4").astype(np.float64)
        self._energy += float(np.square(values).sum())
        self._peak = max(self._peak, float(np.abs(values).max()))
        self._values += values.size

    def measured(self) -> Measured:
        return Measured(
            self._digest.hexdigest(),
            decibels_of_power(self._energy / max(1, self._values)),
            decibels_of_power(math.pow(self._peak, 2)),
        )


def _header(audio: NodeAudio, samples: int) -> bytes:
    return wav_header(samples, audio.channels, audio.sample_rate_hz)
