"""What ffmpeg encodes: a signal written to disk as bare samples, block by block, at the file's own rate.

Bare samples rather than a WAV: no header limits their size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from deployments.audio.dither import Dither16
from deployments.audio.levels import decibels_of_power
from deployments.audio.resample import StreamingResampler
from deployments.audio.samples import Samples
from deployments.export.plan import EncodePlan

_LOUDEST = np.float32(8.0)
"""Encoders of MP3 refuse numbers that are far beyond full scale; integers stop at full scale anyway."""


@dataclass(frozen=True, slots=True)
class SourceLevels:
    """Of the signal as it is encoded. `clipped_samples` counts those beyond full scale, over all channels; 0 where
    the file holds floats, which keep them."""

    peak_dbfs: float
    clipped_samples: int


class SourceWriter:
    """The source of `ffmpeg_arguments(plan, ...)`. It is whole after `close`; leaving the context after an error
    removes it. Raises OSError."""

    def __init__(self, path: Path, plan: EncodePlan) -> None:
        self.path = path
        self._plan = plan
        self._resampler = StreamingResampler(plan.sample_rate_hz, plan.encoded_rate_hz, plan.channels)
        self._dither = Dither16(plan.channels) if plan.bit_depth == 16 else None
        self._gain = np.float32(plan.gain)
        self._peak = 0.0
        self._clipped = 0
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if error is not None:
            self.path.unlink(missing_ok=True)

    def append(self, samples: Samples) -> None:
        """The next stretch, float32 [channels, any number] at the plan's `sample_rate_hz`."""
        self._write(self._resampler.push(samples))

    def close(self) -> SourceLevels:
        self._write(self._resampler.finish())
        if self._dither is not None:
            self._file.write(np.ascontiguousarray(self._dither.finish().T, dtype="<i2").data)
        self._file.close()
        return SourceLevels(decibels_of_power(self._peak**2), self._clipped)

    def _write(self, samples: Samples) -> None:
        if not samples.shape[1]:
            return
        if self._gain != 1.0:
            samples = samples * self._gain
        magnitude = np.abs(samples)
        self._peak = max(self._peak, float(magnitude.max()))
        if not self._plan.keeps_overs:
            self._clipped += int(np.count_nonzero(magnitude > 1.0))
            samples = np.clip(samples, -_LOUDEST, _LOUDEST)
        if self._dither is None:
            self._file.write(np.ascontiguousarray(samples.T, dtype="<f4").data)
        else:
            self._file.write(np.ascontiguousarray(self._dither.push(samples).T, dtype="<i2").data)
