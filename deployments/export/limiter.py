"""A limiter that keeps true peaks under a ceiling: as they come, float32 [channels, samples], all channels by
one gain.

The peaks between the samples are those of the signal at four times its rate. Before a peak the gain falls
smoothly within ATTACK_S, behind it it rises by RELEASE_DB_PER_S; where nothing is over the ceiling, no sample
changes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deployments.audio.resample import StreamingResampler
from deployments.audio.samples import Samples

ATTACK_S = 0.002
RELEASE_DB_PER_S = 60.0
OVERSAMPLING = 4

_BLOCK_SAMPLES = 2**16
"""Work is done in stretches of this length, however the signal is cut, so that rounding is the same too."""

_LEAST_DB = 1e-6
_Decibels = npt.NDArray[np.float64]


class TruePeakLimiter:
    """Not delayed, only held back: all that comes out is as long as what went in.

    The gain itself moves peaks a little, so a true peak may end some hundredths of a dB over the ceiling:
    measure, and limit to a lower one (see `mastering`). `most_db` is the greatest reduction so far.
    """

    def __init__(self, rate_hz: int, channels: int, ceiling_dbtp: float) -> None:
        self._channels = channels
        self._ceiling = 10.0 ** (ceiling_dbtp / 20.0)
        self._reach = max(1, round(ATTACK_S * rate_hz / 2))
        self._release_db = RELEASE_DB_PER_S / rate_hz
        self._upsampler = StreamingResampler(rate_hz, OVERSAMPLING * rate_hz, channels)
        self._unmeasured = np.zeros((channels, 0), np.float32)
        self._between: list[Samples] = []
        self._between_count = 0
        self._waiting = np.zeros((channels, 0), np.float32)
        # The reductions of the last samples put out, which those to come look back on.
        self._held = np.zeros(2 * self._reach)
        self._last_between = np.zeros(1, np.float32)
        self._last_held = 0.0
        self.most_db = 0.0

    def push(self, samples: Samples) -> Samples:
        """The next stretch; what comes back nothing to come can change."""
        self._unmeasured = np.concatenate([self._unmeasured, samples], axis=1)
        self._collect(self._upsampler.push(samples))
        put_out = []
        while self._between_count >= OVERSAMPLING * _BLOCK_SAMPLES:
            put_out.append(self._measure(_BLOCK_SAMPLES))
        return self._joined(put_out)

    def finish(self) -> Samples:
        """The rest. The signal is over."""
        self._collect(self._upsampler.finish())
        put_out = []
        while count := min(_BLOCK_SAMPLES, self._unmeasured.shape[1]):
            put_out.append(self._measure(count))
        ahead = 2 * self._reach
        put_out.append(self._limit(np.zeros(ahead), np.zeros((self._channels, 0), np.float32)))
        return self._joined(put_out)

    def _collect(self, between: Samples) -> None:
        self._between.append(between)
        self._between_count += between.shape[1]

    def _measure(self, count: int) -> Samples:
        """Take `count` samples in, put out what is settled by them."""
        between = np.concatenate(self._between, axis=1)
        mine, rest = between[:, : OVERSAMPLING * count], between[:, OVERSAMPLING * count :]
        self._between, self._between_count = [rest], rest.shape[1]
        samples, self._unmeasured = self._unmeasured[:, :count], self._unmeasured[:, count:]
        return self._limit(self._reductions(samples, mine), samples)

    def _reductions(self, samples: Samples, between: Samples) -> _Decibels:
        """How many dB each sample must lose, and a slow release after each."""
        loudest = np.abs(between).max(axis=0).reshape(-1, OVERSAMPLING).max(axis=1)
        # What lies between two samples counts for both.
        before = np.concatenate([self._last_between, loudest[:-1]])
        self._last_between = loudest[-1:]
        peaks = np.maximum(np.maximum(before, loudest), np.abs(samples).max(axis=0)).astype(np.float64)
        need_db = 20.0 * np.log10(np.maximum(peaks / self._ceiling, 1.0))
        fall = self._release_db * np.arange(1, need_db.size + 1)
        held: _Decibels = np.maximum(np.maximum.accumulate(need_db + fall), self._last_held) - fall
        held = np.maximum(held, 0.0)
        self._last_held = float(held[-1])
        return held

    def _limit(self, held: _Decibels, samples: Samples) -> Samples:
        """`held` reaches 2 * reach samples further than what is put out: the gain looks ahead."""
        from scipy.ndimage import maximum_filter1d

        ahead = 2 * self._reach
        self._waiting = np.concatenate([self._waiting, samples], axis=1)
        known = np.concatenate([self._held, held])
        # Index i of `known` is `ahead` samples before index i of what waits; the first ones only look back.
        count = min(self._waiting.shape[1], max(0, known.size - 2 * ahead))
        put_out, self._waiting = self._waiting[:, :count], self._waiting[:, count:]
        if not count:
            self._held = known
            return put_out
        self._held = known[count:]
        if known.max() <= _LEAST_DB:
            return put_out
        width = ahead + 1
        # The greatest of each and the `ahead` after it; then the mean of that over each and the `ahead`
        # before it, in two steps of half that length, so that the gain has no corner.
        greatest = maximum_filter1d(known, width, origin=-(width // 2), mode="nearest")[: count + ahead]
        reduction_db = _means(_means(greatest, self._reach + 1), self._reach + 1)
        self.most_db = max(self.most_db, float(reduction_db.max()))
        gain = np.where(reduction_db > _LEAST_DB, 10.0 ** (-reduction_db / 20.0), 1.0)
        return (put_out * gain).astype(np.float32)

    def _joined(self, stretches: list[Samples]) -> Samples:
        return np.concatenate([np.zeros((self._channels, 0), np.float32), *stretches], axis=1)


def _means(values: _Decibels, width: int) -> _Decibels:
    """Of each and the `width` - 1 before it; shorter by those."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: _Decibels = (sums[width:] - sums[:-width]) / width
    return means
