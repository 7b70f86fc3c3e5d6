"""Loudness: what a level is, how two are made equal, and how a signal is kept inside full scale."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples

FLOOR_DBFS = -120.0
"""What silence measures."""

SILENT_BELOW_DBFS = -60.0
"""No gain is derived from a signal below this."""

MAX_GAIN_DB = 24.0
GAIN_WINDOW_S = 3.0
LIMIT_FROM = 10 ** (-1.0 / 20)
"""`soft_limit` changes nothing up to here: -1 dBFS."""


def rms_dbfs(samples: Samples) -> float:
    """The mean power of all channels: a full-scale square wave is 0 dBFS, a sine -3.01. Never under -120."""
    return decibels_of_power(_mean_power(samples.astype(np.float64)))


def peak_dbfs(samples: Samples) -> float:
    """The largest sample of any channel, full scale = 0 dBFS. Never under -120."""
    peak = float(np.abs(samples).max()) if samples.size else 0.0
    return decibels_of_power(peak**2)


def decibels_of_power(power: float) -> float:
    """`power` relative to full scale (1.0); the floor for anything below it."""
    return max(FLOOR_DBFS, 10.0 * math.log10(power)) if power > 0.0 else FLOOR_DBFS


def matching_gain(
    target: Samples, reconstruction: Samples, *, rates_hz: tuple[int, int] | None = None
) -> float:
    """The factor that brings `reconstruction` to the level of `target`, of which it is a copy by a codec.

    Compared is the mean power over all channels without DC: with `rates_hz` (of the target, of the
    reconstruction) that of the same stretch at the end of both, at most 3 s; without, that of all of both.
    1.0 if either is practically silent (under -60 dBFS) or empty. Within ±24 dB.
    """
    if rates_hz is not None:
        target_hz, reconstruction_hz = rates_hz
        both_s = min(GAIN_WINDOW_S, target.shape[1] / target_hz, reconstruction.shape[1] / reconstruction_hz)
        target = last_samples(target, round(both_s * target_hz))
        reconstruction = last_samples(reconstruction, round(both_s * reconstruction_hz))
    wanted, given = _ac_power(target), _ac_power(reconstruction)
    if min(decibels_of_power(wanted), decibels_of_power(given)) < SILENT_BELOW_DBFS:
        return 1.0
    largest = float(10 ** (MAX_GAIN_DB / 20))
    return min(largest, max(1.0 / largest, math.sqrt(wanted / given)))


def level_step_db(before: Samples, after: Samples, rate_hz: int) -> float:
    """How much louder the first second of `after` is than the last of `before`, both at one rate; 0 where either is
    practically silent or empty."""
    levels = rms_dbfs(last_samples(before, rate_hz)), rms_dbfs(after[:, :rate_hz])
    return levels[1] - levels[0] if min(levels) > SILENT_BELOW_DBFS else 0.0


def soft_limit(samples: Samples) -> Samples:
    """Every sample by itself: unchanged up to -1 dBFS, above that bent smoothly towards full scale, never over.

    Without memory and with correctly rounded operations only, so cutting a signal into blocks changes no bit.
    """
    magnitude = np.abs(samples)
    loud = magnitude > LIMIT_FROM
    if not loud.any():
        return samples
    room = 1.0 - LIMIT_FROM
    over = (magnitude[loud].astype(np.float64) - LIMIT_FROM) / room
    bent = LIMIT_FROM + room * over / np.sqrt(1.0 + over * over)
    limited = samples.copy()
    limited[loud] = np.copysign(np.minimum(bent, 1.0), samples[loud])
    return limited


def last_samples(samples: Samples, count: int) -> Samples:
    """A view of the last `count` samples of every channel (all of them if there are fewer)."""
    return samples[:, max(0, samples.shape[1] - count) :]


def _ac_power(samples: Samples) -> float:
    if not samples.size:
        return 0.0
    exact = samples.astype(np.float64)
    return _mean_power(exact - exact.mean(axis=1, keepdims=True))


def _mean_power(exact: npt.NDArray[np.float64]) -> float:
    return float(np.square(exact).mean()) if exact.size else 0.0
