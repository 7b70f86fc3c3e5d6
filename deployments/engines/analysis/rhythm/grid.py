"""A clip's beats as an even grid, to a few milliseconds."""

from __future__ import annotations

import numpy as np

from deployments.audio.resample import mixed_down, resample
from deployments.audio.samples import Samples
from deployments.audio.seam.grid import Grid

LEAST_CONFIDENCE = 0.5
SHORTEST_S = 4.0
"""In less time a tempo is not told closely enough to play along with it."""


def find_grid(samples: Samples, rate_hz: int) -> Grid | None:
    """The grid of a clip, float32 [channels, samples], in seconds from its beginning. None where its tempo is not
    sure or not steady."""
    if samples.shape[1] < SHORTEST_S * rate_hz:
        return None
    # scipy.signal takes a second to import, and the API imports this module without an estimate ever.
    from deployments.engines.analysis.rhythm.estimate import analyse_rhythm
    from deployments.engines.analysis.rhythm.onsets import RATE_HZ

    mono = np.ascontiguousarray(resample(mixed_down(samples, 1), rate_hz, RATE_HZ)[0])
    rhythm = analyse_rhythm(mono)
    if rhythm.bpm is None or not rhythm.is_steady or rhythm.confidence < LEAST_CONFIDENCE:
        return None
    period_s = 60.0 / rhythm.bpm
    # The first and the last are cut to the clip.
    return Grid(period_s, rhythm.beats_s[len(rhythm.beats_s) // 2] % period_s)
