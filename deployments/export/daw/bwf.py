"""24-bit broadcast WAVs, written block by block: `bext` before the audio, RF64 past 4 GiB, markers behind."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples
from deployments.audio.written_file import WrittenFile
from deployments.export.wav_chunks import (
    RIFF_LIMIT,
    Broadcast,
    Marker,
    append_chunks,
    bext_chunk,
    marker_chunks,
)

Integers = npt.NDArray[np.int32]
"""[channels, samples], -2^23 to 2^23 - 1."""

FULL_SCALE = 2**23
_BYTES = 3


def to_24_bit(samples: Samples) -> Integers:
    """Rounded to the nearest (halves to the even one) and cut at full scale: 24 bits need no dither."""
    scaled = np.rint(samples.astype(np.float64) * FULL_SCALE)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int32)


class BwfWriter(WrittenFile):
    """The file is whole after `close`; leaving the context after an error removes it."""

    def __init__(
        self, path: Path, rate_hz: int, channels: int, said: Broadcast, markers: Sequence[Marker] = ()
    ) -> None:
        self.samples = 0
        self._frame_bytes = _BYTES * channels
        self._markers = markers
        name, bext = bext_chunk(said)
        frame_bytes = self._frame_bytes
        fmt = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 8 * _BYTES)
        head = b"RIFF\0\0\0\0WAVE" + struct.pack("<4sI28x", b"JUNK", 28)
        head += struct.pack("<4sI", name, len(bext)) + bext + b"\0" * (len(bext) % 2)
        head += struct.pack("<4sI", b"fmt ", len(fmt)) + fmt + b"data\0\0\0\0"
        self._data_at = len(head)
        super().__init__(path)
        self._file.write(head)

    def append(self, integers: Integers) -> None:
        four_bytes = np.ascontiguousarray(integers.T, "<i4").view(np.uint8).reshape(-1, 4)
        self._file.write(np.ascontiguousarray(four_bytes[:, :_BYTES]).data)
        self.samples += integers.shape[1]

    def close(self) -> None:
        if self._file.closed:
            return
        data_bytes = self.samples * self._frame_bytes
        if data_bytes % 2:
            self._file.write(b"\0")
        size = self._data_at + data_bytes + data_bytes % 2 - 8
        large = size > RIFF_LIMIT
        self._file.seek(0)
        self._file.write(struct.pack("<4sI", b"RF64" if large else b"RIFF", RIFF_LIMIT if large else size))
        if large:
            self._file.seek(12)
            self._file.write(struct.pack("<4sIQQQI", b"ds64", 28, size, data_bytes, self.samples, 0))
        self._file.seek(self._data_at - 4)
        self._file.write(struct.pack("<I", RIFF_LIMIT if large else data_bytes))
        self._file.close()
        append_chunks(self.path, marker_chunks(self._markers))
