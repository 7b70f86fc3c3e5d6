"""Which tempos a clip could have: where its onset curves repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d

from deployments.engines.analysis.rhythm.onsets import FRAMES_PER_S, Curve

SLOWEST_BPM, QUICKEST_BPM = 52.0, 205.0

_WINDOW_S, _WINDOW_HOP_S = 10.0, 5.0
_LONGEST_LAG_S = 6.0
_BLUR_FRAMES = 1.5
_STRONGEST = 5
_RELATIVES = (1 / 3, 1 / 2, 2 / 3, 1.0, 4 / 3, 3 / 2, 2.0, 3.0)
_ALIKE = 0.04
_MOST = 12


@dataclass(frozen=True, slots=True)
class Repetition:
    """`curves` is float32 [curves, lags]: how much each curve is like itself so many frames later, 1 for the same,
    about 0 for nothing in common. `salience` is float32 [periods]: how well a pulse of each of `periods` (frames)
    fits."""

    curves: Curve
    periods: Curve
    salience: Curve

    def at(self, lags: Curve) -> Curve:
        """[curves, lags] at lags between frames; 0 beyond the longest."""
        lags = np.asarray(lags)
        whole = np.minimum(lags.astype(np.int64), self.curves.shape[1] - 2)
        part = np.minimum(lags - whole, 1).astype(np.float32)
        between = self.curves[:, whole] * (1 - part) + self.curves[:, whole + 1] * part
        return np.where(lags < self.curves.shape[1] - 1, between, 0).astype(np.float32)


def find_repetition(curves: Curve) -> Repetition:
    """Of curves as in `Onsets`, [curves, frames]; the first counts as much as all others in the salience.

    Means over stretches of 10 s, so that a tempo that sways is not blurred away.
    """
    curves = gaussian_filter1d(curves, _BLUR_FRAMES, axis=1, mode="constant")
    frames = curves.shape[1]
    window = min(round(_WINDOW_S * FRAMES_PER_S), frames)
    hop = round(_WINDOW_HOP_S * FRAMES_PER_S)
    lags = min(round(_LONGEST_LAG_S * FRAMES_PER_S), max(2, window - 1))
    stretches = sliding_window_view(curves, window, axis=1)[:, ::hop]
    stretches = stretches - stretches.mean(axis=2, keepdims=True)
    size = next_fast_len(window + lags, real=True)
    spectra = rfft(stretches, size, axis=2)
    power = (spectra.real**2 + spectra.imag**2).sum(axis=1)
    products = irfft(power, size, axis=1)[:, :lags]
    unbiased = products * (window / (window - np.arange(lags)))
    alike = (unbiased / (products[:, :1] + 1e-6)).astype(np.float32)
    # Few overlapping frames say little.
    alike *= np.minimum(1, (window - np.arange(lags)) / (0.2 * window)).astype(np.float32)
    periods = _periods()
    repetition = Repetition(alike, periods, np.zeros_like(periods))
    each = [repetition.at(periods * multiple) for multiple in (1, 2, 3, 4)]
    combined = sum(weight * part for weight, part in zip((1.0, 0.7, 0.3, 0.5), each, strict=True))
    assert isinstance(combined, np.ndarray)  # noqa: S101
    salience = combined[0] + combined[1:].mean(axis=0)
    return Repetition(alike, periods, salience.astype(np.float32))


def candidate_periods(repetition: Repetition) -> list[float]:
    """Frames of a beat, the most salient first: the strongest peaks, and what the strongest of all could be
    taken for. Within `SLOWEST_BPM` to `QUICKEST_BPM`, no two alike."""
    salience, periods = repetition.salience, repetition.periods
    is_peak = np.r_[False, (salience[1:-1] >= salience[:-2]) & (salience[1:-1] > salience[2:]), False]
    peaks = np.flatnonzero(is_peak)
    peaks = peaks[np.argsort(-salience[peaks])]
    if not len(peaks):
        return []
    strongest = [float(periods[peak]) for peak in peaks[:_STRONGEST]]
    related = [_moved_to_peak(repetition, strongest[0] * ratio) for ratio in _RELATIVES]
    related += [
        _moved_to_peak(repetition, period * ratio) for period in strongest[1:3] for ratio in (0.5, 2.0)
    ]
    return _distinct([*strongest, *related])[:_MOST]


def _periods() -> Curve:
    """Log-spaced by 1 %, a little beyond the slowest and the quickest tempo."""
    shortest = 60 * FRAMES_PER_S / (QUICKEST_BPM * 1.04)
    longest = 60 * FRAMES_PER_S / (SLOWEST_BPM / 1.04)
    count = round(np.log(longest / shortest) / 0.01)
    return np.geomspace(shortest, longest, count).astype(np.float32)


def _moved_to_peak(repetition: Repetition, period: float) -> float:
    near = np.flatnonzero(np.abs(np.log(repetition.periods / period)) < _ALIKE)
    if not len(near):
        return period
    return float(repetition.periods[near[np.argmax(repetition.salience[near])]])


def _distinct(periods: Sequence[float]) -> list[float]:
    chosen: list[float] = []
    for period in periods:
        bpm = 60 * FRAMES_PER_S / period
        is_new = all(abs(np.log(period / other)) > _ALIKE for other in chosen)
        if SLOWEST_BPM <= bpm <= QUICKEST_BPM and is_new:
            chosen.append(period)
    return chosen
