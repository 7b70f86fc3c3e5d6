"""Where a take's samples can be read from: the segments of a claim, or the node that a claim has made ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from deployments.audio.samples import SoundFormat
from deployments.audio.wav import BYTES_PER_SAMPLE, HEADER_BYTES, unpack_wav
from storage.blob_names import ClaimOf, owner_of
from storage.domain.model import NodeAudio
from storage.repositories.blobs import Blobs
from storage.repositories.segments import SegmentKey, Segments

READ_BYTES = 1024 * 1024
"""A multiple of the size of every frame."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Interleaved float32 little-endian samples, whole frames."""

    format: SoundFormat
    data: memoryview


class Recording(Protocol):
    fence: int | None
    """The claim that made it."""

    def available(self) -> AsyncIterator[Stretch]:
        """What follows what was given, as far as it is there now."""
        ...


class SegmentRecording:
    """As it is being made. `next_number` is the first segment that was not given."""

    def __init__(self, segments: Segments, tenant: str, job_id: str, fence: int) -> None:
        self.fence: int | None = fence
        self.next_number = 0
        self._segments = segments
        self._tenant = tenant
        self._job_id = job_id
        self._fence = fence

    async def available(self) -> AsyncIterator[Stretch]:
        """Raises StoreError, NotOurWav."""
        while (data := await self._segments.find(self._next())) is not None:
            self.next_number += 1
            yield Stretch(*unpack_wav(data))

    def _next(self) -> SegmentKey:
        return SegmentKey(self._tenant, self._job_id, self._fence, self.next_number)


class NodeRecording:
    """As a ready node has it."""

    def __init__(self, blobs: Blobs, tenant: str, audio: NodeAudio) -> None:
        owner = owner_of(audio.blob.name)
        self.fence = owner.fence if isinstance(owner, ClaimOf) else None
        self._format = SoundFormat(audio.sample_rate_hz, audio.channels)
        self._blobs = blobs
        self._tenant = tenant
        self._blob = audio.blob
        frame_bytes = audio.channels * BYTES_PER_SAMPLE
        self._start = self._position = HEADER_BYTES + audio.first_sample * frame_bytes
        self._end = self._start + audio.samples * frame_bytes

    def skip(self, data_bytes: int) -> None:
        """Begin after so many bytes of samples."""
        self._position = self._start + data_bytes

    async def available(self) -> AsyncIterator[Stretch]:
        """Raises BlobCorrupt, StoreError."""
        while self._position < self._end:
            length = min(READ_BYTES, self._end - self._position)
            data = await self._blobs.read(self._tenant, self._blob, self._position, length)
            self._position += length
            yield Stretch(self._format, memoryview(data))
