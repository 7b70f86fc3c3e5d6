"""How loud a track is: networks are given it at a mean of 0 and a standard deviation of 1.

As `demucs.api.Separator.separate_tensor` does it, with the mean of the channels as the reference, but summed up
in float64, block by block, so that the result is right for an hour of audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deployments.audio.samples import Samples

LEAST_SCALE = np.float32(1e-8)
"""Added to the standard deviation, so that silence can be divided by it."""
_BLOCK_SAMPLES = 2**18


class Track(Protocol):
    """What is read of a track; `deployments.audio.track.TrackReader` is one. `samples` is per channel."""

    @property
    def rate_hz(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def samples(self) -> int: ...

    def read(self, start: int, count: int) -> Samples:
        """float32 [channels, count] from sample `start` on; zeros outside the track."""
        ...


@dataclass(frozen=True, slots=True)
class Level:
    """The reference's mean, and what the track is divided by."""

    mean: np.float32
    scale: np.float32

    def normalised(self, track: Track, start: int, count: int) -> Samples:
        """A stretch of the track as networks want it; zeros outside the track."""
        stretch = track.read(start, count)
        inside = stretch[:, max(0, -start) : max(0, track.samples - start)]
        inside -= self.mean
        inside /= self.scale
        return stretch

    def restored(self, stretch: Samples) -> Samples:
        """A source's share of a normalised stretch at the track's own level."""
        restored: Samples = stretch * self.scale + self.mean
        return restored


def measure_level(track: Track) -> Level:
    """Reads the track twice. A single sample has a standard deviation of 0 here."""
    blocks = range(0, track.samples, _BLOCK_SAMPLES)
    mean = sum(float(_reference(track, start).sum()) for start in blocks) / max(1, track.samples)
    squares = sum(float(np.square(_reference(track, start) - mean).sum()) for start in blocks)
    deviation = np.sqrt(squares / max(1, track.samples - 1))
    return Level(np.float32(mean), np.float32(deviation) + LEAST_SCALE)


def _reference(track: Track, start: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    block = track.read(start, min(_BLOCK_SAMPLES, track.samples - start))
    mono: np.ndarray[tuple[int], np.dtype[np.float64]] = block.mean(axis=0, dtype=np.float64)
    return mono
