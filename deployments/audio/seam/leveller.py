"""A take's loudness held to the line's, by a gain that moves too slowly to be heard."""

from __future__ import annotations

from collections import deque

import numpy as np

from deployments.audio.loudness import KWeighting, gated_lufs
from deployments.audio.samples import Samples

WINDOW_S = 8.0
"""Over so much of the line its loudness is measured."""

SLOPE_DB_PER_S = 0.2
MOST_DB = 6.0

_STEPS_PER_S = 10
_STEPS_PER_BLOCK = 4


class Leveller:
    """Moves a take's gain towards what brings the line to `target_lufs`, as it comes, float32 [channels, samples].

    The line's loudness is the gated one of BS.1770 over its last 8 s: at first those of `before` (the parent's end,
    in the same format), then more and more the take's own. The gain starts at 0 dB and moves by at most 0.2 dB a
    second, within 6 dB on either side. Each tenth of a second is moved by what came before it, so that nothing is
    held back, and how the take is cut changes no bit. Raises ValueError for rates under 4 kHz.
    """

    def __init__(self, rate_hz: int, before: Samples, target_lufs: float) -> None:
        self._target_lufs = target_lufs
        self._weighting = KWeighting(rate_hz, before.shape[0])
        self._step_samples = max(1, round(rate_hz / _STEPS_PER_S))
        self._powers: deque[float] = deque(maxlen=round(WINDOW_S * _STEPS_PER_S))
        self._step: list[Samples] = []
        self._filled = 0
        self.gain_db = 0.0
        """As far as the last whole tenth of a second."""
        steps = min(before.shape[1] // self._step_samples, self._powers.maxlen or 0)
        for step in range(steps, 0, -1):
            end = before.shape[1] - (step - 1) * self._step_samples
            self._measure(before[:, end - self._step_samples : end])
        self._next_db = self._next()

    def push(self, samples: Samples) -> Samples:
        """The same stretch, levelled."""
        levelled = np.empty_like(samples)
        done = 0
        while done < samples.shape[1]:
            count = min(samples.shape[1] - done, self._step_samples - self._filled)
            piece = samples[:, done : done + count]
            low, high = 10.0 ** (self.gain_db / 20.0), 10.0 ** (self._next_db / 20.0)
            ramp = low + (high - low) * (np.arange(self._filled, self._filled + count) / self._step_samples)
            levelled[:, done : done + count] = piece * ramp
            self._step.append(piece)
            self._filled += count
            done += count
            if self._filled == self._step_samples:
                self._measure(np.concatenate(self._step, axis=1))
                self._step, self._filled = [], 0
                self.gain_db = self._next_db
                self._next_db = self._next()
        return levelled

    def _measure(self, step: Samples) -> None:
        self._powers.append(float(self._weighting.push(step.astype(np.float64)).mean()))

    def _next(self) -> float:
        """The gain a step later."""
        blocks = np.convolve(self._powers, np.full(_STEPS_PER_BLOCK, 1.0 / _STEPS_PER_BLOCK), "valid")
        heard_lufs = gated_lufs(blocks) if len(self._powers) >= _STEPS_PER_BLOCK else None
        if heard_lufs is None:
            return self.gain_db
        wanted_db = min(MOST_DB, max(-MOST_DB, self._target_lufs - heard_lufs))
        most_db = SLOPE_DB_PER_S / _STEPS_PER_S
        return self.gain_db + min(most_db, max(-most_db, wanted_db - self.gain_db))
