"""How loud a clip is, as broadcasters measure it."""

from __future__ import annotations

from deployments.audio.loudness import measure_loudness
from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Level


def measure_level(samples: Samples, rate_hz: int) -> Level:
    """Of float32 [channels, samples], one channel or two, at the clip's own rate; see
    `deployments.audio.loudness.LoudnessMeter`."""
    loudness = measure_loudness(samples, rate_hz)
    return Level(loudness.integrated_lufs, loudness.true_peak_dbtp)
