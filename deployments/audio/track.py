"""Whole tracks on disk, a stretch at a time: an hour of music never lies in memory.

The files are what `encode_wav` writes, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deployments.audio.samples import Samples
from deployments.audio.wav import BYTES_PER_SAMPLE, HEADER_BYTES, NotOurWav, read_header, wav_header
from deployments.audio.written_file import WrittenFile

BLOCK_SAMPLES = 2**18
"""About six seconds, 2 MiB in stereo: large enough for numpy, small enough for many at once."""


class TrackReader:
    """A float32 WAV that is read anywhere. Safe in several threads at once: every read opens the file anew.

    `samples` is per channel. Raises NotOurWav for any other file, OSError.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            sound, data_bytes = read_header(file.read(HEADER_BYTES))
        frame_bytes = sound.channels * BYTES_PER_SAMPLE
        if path.stat().st_size != HEADER_BYTES + data_bytes:
            raise NotOurWav(f"the header announces {data_bytes} bytes of audio, the file has others")
        self.path = path
        self.rate_hz = sound.rate_hz
        self.channels = sound.channels
        self.samples = data_bytes // frame_bytes
        self._frame_bytes = frame_bytes

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate_hz

    def read(self, start: int, count: int) -> Samples:
        """float32 [channels, count] from sample `start` on; zeros before the beginning and after the end."""
        stretch = np.zeros((self.channels, count), np.float32)
        first, last = max(0, start), min(self.samples, start + count)
        if first < last:
            with self.path.open("rb") as file:
                file.seek(HEADER_BYTES + first * self._frame_bytes)
                data = file.read((last - first) * self._frame_bytes)
            stretch[:, first - start : last - start] = np.frombuffer(data, "<f4").reshape(-1, self.channels).T
        return stretch

    def blocks(self, count: int = BLOCK_SAMPLES) -> Iterator[Samples]:
        """The whole track in order, `count` samples at a time; the last block is shorter."""
        for start in range(0, self.samples, count):
            yield self.read(start, min(count, self.samples - start))


class TrackWriter(WrittenFile):
    """A float32 WAV that grows. The file is whole after `close`; leaving the context after an error removes it.

    Raises ValueError beyond what a WAV can hold (4 GiB), OSError.
    """

    def __init__(self, path: Path, rate_hz: int, channels: int) -> None:
        super().__init__(path)
        self.rate_hz = rate_hz
        self.channels = channels
        self.samples = 0
        self._file.write(bytes(HEADER_BYTES))

    def append(self, samples: Samples) -> None:
        """The next stretch, float32 [channels, any number]."""
        wav_header(self.samples + samples.shape[1], self.channels, self.rate_hz)  # is there room for it?
        self._file.write(np.ascontiguousarray(samples.T, dtype="<f4").data)
        self.samples += samples.shape[1]

    def close(self) -> None:
        if not self._file.closed:
            self._file.seek(0)
            self._file.write(wav_header(self.samples, self.channels, self.rate_hz))
            self._file.close()
