"""Samples as a file that is not stored anywhere: a header, and frames that are computed on request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from deployments.audio.samples import SoundFormat
from deployments.audio.wav import BYTES_PER_SAMPLE, wav_header

Frames = Callable[[int, int], Awaitable[bytes]]
"""`frames(start, count)` gives so many frames from frame `start` on: interleaved float32, little-endian."""


class SampleFormat(StrEnum):
    """`wav` has a header and 32-bit floats, `f32` the same floats alone, little-endian."""

    WAV = "wav"
    F32 = "f32"

    @property
    def media_type(self) -> str:
        return "audio/wav" if self is SampleFormat.WAV else "application/octet-stream"


@dataclass(frozen=True, slots=True)
class SampleFile:
    """`samples` are per channel. Raises ValueError where a WAV cannot hold them."""

    format: SampleFormat
    sound: SoundFormat
    samples: int
    frames: Frames

    @property
    def header(self) -> bytes:
        if self.format is SampleFormat.F32:
            return b""
        return wav_header(self.samples, self.sound.channels, self.sound.rate_hz)

    @property
    def size_bytes(self) -> int:
        return len(self.header) + self.samples * self._frame_bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe the samples, the same as for a take that is being made."""
        return {
            "X-Segue-Sample-Rate": str(self.sound.rate_hz),
            "X-Segue-Channels": str(self.sound.channels),
            "X-Segue-Samples": str(self.samples),
        }

    async def read(self, start: int, length: int) -> bytes:
        """Exactly those bytes of the file; only the frames that they lie in are made."""
        header = self.header
        before = header[start : start + length]
        begin, end = max(0, start - len(header)), max(0, start + length - len(header))
        first, last = begin // self._frame_bytes, -(-end // self._frame_bytes)
        if first >= last:
            return before
        frames = await self.frames(first, last - first)
        skipped = begin - first * self._frame_bytes
        return before + frames[skipped : skipped + length - len(before)]

    @property
    def _frame_bytes(self) -> int:
        return self.sound.channels * BYTES_PER_SAMPLE
