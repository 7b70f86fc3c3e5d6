"""Float samples as 16-bit integers. Dither is added only where rounding changes something: what is on the 16-bit
grid already (16-bit material, digital silence) is kept bit for bit."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples

STRETCH_SAMPLES: Final = 1024
"""The grid is looked for in stretches of this length, channel by channel: a few samples of other material fall on
it by chance, a whole stretch does not."""

_FULL_SCALE: Final = 32_768.0
_SEED: Final = 0x5E60E

Integers = npt.NDArray[np.int16]


class Dither16:
    """int16 [channels, samples] of a signal as it comes.

    Triangular dither of ±1 step from a fixed seed, so equal signals give equal integers, however they are cut into
    blocks. What is over full scale becomes the greatest integer; it never wraps.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        # The raw bits of a bit generator are guaranteed to stay the same in later releases of numpy.
        self._noise = np.random.PCG64(_SEED)
        self._waiting: Samples = np.zeros((channels, 0), np.float32)

    def push(self, samples: Samples) -> Integers:
        """The whole stretches that are complete; up to STRETCH_SAMPLES - 1 samples wait."""
        waiting = np.concatenate([self._waiting, samples], axis=1)
        whole = waiting.shape[1] // STRETCH_SAMPLES * STRETCH_SAMPLES
        self._waiting = waiting[:, whole:].copy()
        return self._integers(waiting[:, :whole].reshape(self._channels, -1, STRETCH_SAMPLES))

    def finish(self) -> Integers:
        """The rest. The signal is over."""
        rest, self._waiting = self._waiting, self._waiting[:, :0]
        return self._integers(rest[:, np.newaxis, :])

    def _integers(self, stretches: Samples) -> Integers:
        """[channels, stretches, samples] -> [channels, samples of all stretches]."""
        channels, count, length = stretches.shape
        if not count * length:
            return np.zeros((channels, 0), np.int16)
        scaled = stretches.astype(np.float64) * _FULL_SCALE
        rounded = np.rint(scaled)
        off_grid = (scaled != rounded).any(axis=2, keepdims=True)
        noise = np.moveaxis(
            self._triangular(count * length * channels).reshape(count, length, channels), 2, 0
        )
        dithered = np.where(off_grid, np.rint(scaled + noise), rounded)
        return np.clip(dithered, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16).reshape(channels, -1)

    def _triangular(self, count: int) -> npt.NDArray[np.float64]:
        """Numbers within (-1, 1), each the difference of two uniform ones."""
        bits = np.asarray(self._noise.random_raw(count), np.uint64)
        high, low = bits >> np.uint64(32), bits & np.uint64(0xFFFFFFFF)
        difference: npt.NDArray[np.float64] = (high.astype(np.float64) - low.astype(np.float64)) / 2.0**32
        return difference
