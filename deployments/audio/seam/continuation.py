"""A take on its way from the model's format into the chain's, as it comes."""

from __future__ import annotations

import math

import numpy as np

from deployments.audio.levels import soft_limit
from deployments.audio.resample import StreamingResampler, to_channels
from deployments.audio.samples import Samples, SoundFormat


class TooFewSamples(ValueError):
    """The model gave less than it was asked for."""


class Continuation:
    """The codec's reconstruction of what came before, and the new audio after it, as one signal.

    It is resampled, brought to the chain's channels and level and kept inside full scale. Then it is cut where
    the new audio begins: what comes out is the new audio, exactly `new_samples` of it, and before it at most
    `lead_in_samples` of the reconstruction are kept. No cut into pieces changes a bit of either.

    `reconstruction` is float32 [channels, samples] in the format `given`; the other lengths are in the format
    `wanted`. `gain` is a factor, for good: nothing that comes later changes it.
    """

    def __init__(
        self,
        reconstruction: Samples,
        *,
        given: SoundFormat,
        wanted: SoundFormat,
        gain: float,
        lead_in_samples: int,
        new_samples: int,
    ) -> None:
        self._resampler = StreamingResampler(given.rate_hz, wanted.rate_hz, given.channels)
        self._channels = wanted.channels
        self._gain = np.float32(gain)
        self._tolerance = math.ceil(wanted.rate_hz / given.rate_hz) + 1
        self._before_seam = round(reconstruction.shape[1] * wanted.rate_hz / given.rate_hz)
        self._lead_in_samples = lead_in_samples
        self._missing = new_samples
        self.lead_in: Samples = np.zeros((wanted.channels, 0), np.float32)
        """Whole once the first new audio has come out."""
        self._last = np.zeros((wanted.channels, 1), np.float32)
        self._cut(self._resampler.push(reconstruction * self._gain))

    def push(self, samples: Samples) -> Samples:
        """The next stretch from the model; returns the new audio that it completes, perhaps none."""
        return self._cut(self._resampler.push(samples * self._gain))

    def finish(self) -> Samples:
        """The rest of the new audio. Raises TooFewSamples."""
        rest = self._cut(self._resampler.finish())
        if self._missing > self._tolerance:
            raise TooFewSamples(f"{self._missing} samples too few")
        # Resampling rounds the last samples away.
        return np.concatenate([rest, np.repeat(self._last, self._missing, axis=1)], axis=1)

    def _cut(self, resampled: Samples) -> Samples:
        sound = soft_limit(to_channels(resampled, self._channels))
        before, after = np.split(sound, [self._before_seam], axis=1)
        self._before_seam -= before.shape[1]
        if before.shape[1]:
            joined = np.concatenate([self.lead_in, before], axis=1)
            self.lead_in = joined[:, max(0, joined.shape[1] - self._lead_in_samples) :]
        new = after[:, : self._missing]
        self._missing -= new.shape[1]
        if new.shape[1]:
            self._last = new[:, -1:]
        return new
