"""What ffmpeg encodes: a float32 WAV, written block by block, with the last steps of a track done: gain, dither.

16 bits are dithered where the signal is not on their grid already, and lie on that grid then, so that any program
converts them without a change; 24 bits and floats need no dither.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from deployments.audio.dither import Dither16, Integers
from deployments.audio.levels import decibels_of_power
from deployments.audio.samples import Samples
from deployments.audio.track import TrackWriter
from deployments.export.formats import FLOAT_BITS
from deployments.export.gain import gain_factor

_LOUDEST = np.float32(8.0)
"""Encoders of MP3 refuse numbers that are far beyond full scale; integers stop at full scale anyway."""

_STEPS_OF_16_BITS = np.float32(2.0**15)


@dataclass(frozen=True, slots=True)
class SourceLevels:
    """Of the signal as it is encoded. `clipped_samples` counts those beyond full scale, over all channels; 0 where
    the file holds floats, which keep them."""

    peak_dbfs: float
    clipped_samples: int


class SourceWriter:
    """The source of `encode_arguments`. `bit_depth` is the file's, None for a lossy one; `gain_db` (0 or less) is
    applied first. The file is whole after `close`; leaving the context after an error removes it.

    Equal signals give equal files, however they are cut into blocks. Raises ValueError beyond 4 GiB, OSError.
    """

    def __init__(
        self, path: Path, rate_hz: int, channels: int, bit_depth: int | None, gain_db: float = 0.0
    ) -> None:
        self._writer = TrackWriter(path, rate_hz, channels)
        self._dither = Dither16(channels) if bit_depth == 16 else None
        self._keeps_overs = bit_depth == FLOAT_BITS
        self._gain = np.float32(gain_factor(gain_db))
        self._peak = 0.0
        self._clipped = 0

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def append(self, samples: Samples) -> None:
        """The next stretch, float32 [channels, any number]."""
        if not samples.shape[1]:
            return
        if self._gain != 1.0:
            samples = samples * self._gain
        magnitude = np.abs(samples)
        peak = float(magnitude.max())
        self._peak = max(self._peak, peak)
        if not self._keeps_overs:
            if peak > 1.0:
                self._clipped += int(np.count_nonzero(magnitude > 1.0))
            if peak > _LOUDEST:
                samples = np.clip(samples, -_LOUDEST, _LOUDEST)
        self._writer.append(samples if self._dither is None else _floats(self._dither.push(samples)))

    def close(self) -> SourceLevels:
        if self._dither is not None:
            self._writer.append(_floats(self._dither.finish()))
        self._writer.close()
        return SourceLevels(decibels_of_power(self._peak**2), self._clipped)


def _floats(integers: Integers) -> Samples:
    floats: Samples = integers.astype(np.float32) / _STEPS_OF_16_BITS
    return floats
