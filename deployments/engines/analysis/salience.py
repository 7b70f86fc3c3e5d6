"""How much each pitch sounds among others: its overtones added up in a whitened spectrum (A. Klapuri, "Multiple
Fundamental Frequency Estimation by Summing Harmonic Amplitudes", ISMIR 2006)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft
from scipy.ndimage import uniform_filter1d

from deployments.audio.samples import Samples

_WINDOW_S = 0.128
_FFT_FACTOR = 4
"""Zeros are added up to so many windows: a low pitch's semitone is less than a bin otherwise."""

_HARMONICS = 12
_FALL = 0.8
"""What an overtone counts, of the one below it."""

_ENVELOPE_HZ = 400.0
_QUIET = np.float32(2e-4)
"""Of a clip's peak: what is quieter is not made as loud as the rest."""

_NOISE, _LOUD = np.float32(1.0), np.float32(1.7)
"""What noise has on average, in the mean of its overtones, and by how much more loud pitches have."""

_GROUP_FRAMES = 256


def find_salience(
    samples: Samples, pitches_hz: npt.NDArray[np.float64], *, rate_hz: int, hop_samples: int
) -> npt.NDArray[np.float32]:
    """float32 [1 + samples // hop, pitches], about 1 for a pitch that stands out, up to 0.3 in noise; frame k
    is around sample k * hop. All 0 for silence. `samples` is float32 [samples], at any level."""
    window_samples = 2 * round(_WINDOW_S * rate_hz / 2)
    fft_samples = _FFT_FACTOR * window_samples
    half = window_samples // 2
    loudest = float(np.abs(samples).max(initial=0.0))
    padded = np.pad(samples / np.float32(loudest or 1.0), (half, half + hop_samples))
    count = 1 + samples.size // hop_samples
    frames = sliding_window_view(padded, window_samples)[::hop_samples][:count]
    window = np.hanning(window_samples + 1)[:-1].astype(np.float32)
    window *= 2 / window.sum()
    envelope_bins = round(_ENVELOPE_HZ * fft_samples / rate_hz)
    places = [(number, pitches_hz * (number + 1) * fft_samples / rate_hz) for number in range(_HARMONICS)]
    salience = np.zeros((count, len(pitches_hz)), np.float32)
    for first in range(0, count, _GROUP_FRAMES):
        rows = slice(first, first + _GROUP_FRAMES)
        magnitudes = np.abs(rfft(frames[rows] * window, fft_samples, axis=1)).astype(np.float32)
        power = np.maximum(uniform_filter1d(np.square(magnitudes), envelope_bins, axis=1), 0)
        whitened = magnitudes / (np.sqrt(power) + _QUIET)
        for number, bins in places:
            heard = np.flatnonzero(bins < whitened.shape[1] - 1)
            below = bins[heard].astype(np.int64)
            part = (bins[heard] - below).astype(np.float32)
            between = whitened[:, below] * (1 - part) + whitened[:, below + 1] * part
            salience[rows, : len(heard)] += np.float32(_FALL**number) * between
    mean = salience / np.float32(sum(_FALL**number for number in range(_HARMONICS)))
    standing_out: npt.NDArray[np.float32] = np.maximum(0, mean - _NOISE) / _LOUD
    return standing_out
