"""A clip as the parts of an analysis want it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from deployments.audio.resample import mixed_down, resample
from deployments.audio.samples import Samples

LISTENING_RATE_HZ = 22_050
"""For rhythm, key, timbre and energy: nothing of theirs is above 11 kHz."""

_LOUDEST = 8.0
"""18 dB over full scale. What is beyond was no audio at full scale 1 (integers as floats, say)."""


class Clip:
    """One channel at the rates that are asked for, each made once.

    Clips that reach far beyond full scale are brought down to it; nothing in an analysis but the level, which
    is measured on the clip itself, depends on it then.
    """

    def __init__(self, samples: Samples, rate_hz: int) -> None:
        self.samples = samples
        self.rate_hz = rate_hz
        self.duration_s = samples.shape[1] / rate_hz

    @cached_property
    def _mono(self) -> Samples:
        peak = float(np.abs(self.samples).max())
        samples = self.samples if peak <= _LOUDEST else self.samples / np.float32(peak)
        return mixed_down(samples, 1)

    @cached_property
    def listening(self) -> Samples:
        """float32 [samples] at `LISTENING_RATE_HZ`."""
        return self.at(LISTENING_RATE_HZ)

    def at(self, rate_hz: int, longest_s: float | None = None) -> Samples:
        """float32 [samples] at another rate; of the clip's first `longest_s` seconds."""
        mono = self._mono
        if longest_s is not None:
            mono = mono[:, : round(longest_s * self.rate_hz)]
        return np.ascontiguousarray(resample(mono, self.rate_hz, rate_hz)[0])
