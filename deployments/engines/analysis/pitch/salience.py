"""How much each pitch sounds among others: its overtones added up in a whitened spectrum (A. Klapuri, "Multiple
Fundamental Frequency Estimation by Summing Harmonic Amplitudes", ISMIR 2006)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft
from scipy.ndimage import uniform_filter1d

from deployments.audio.samples import Samples
from deployments.engines.analysis.frames import centred_frames

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
    loudest = float(np.abs(samples).max(initial=0.0))
    scaled = samples / np.float32(loudest or 1.0)
    frames = centred_frames(scaled, window_samples=window_samples, hop_samples=hop_samples)
    window = np.hanning(window_samples + 1)[:-1].astype(np.float32)
    window *= 2 / window.sum()
    envelope_bins = round(_ENVELOPE_HZ * fft_samples / rate_hz)
    overtones = _overtones(pitches_hz * fft_samples / rate_hz, fft_samples // 2)
    salience = np.zeros((len(frames), len(pitches_hz)), np.float32)
    for first in range(0, len(frames), _GROUP_FRAMES):
        rows = slice(first, first + _GROUP_FRAMES)
        magnitudes = np.abs(rfft(frames[rows] * window, fft_samples, axis=1)).astype(np.float32)
        power = np.maximum(uniform_filter1d(np.square(magnitudes), envelope_bins, axis=1), 0)
        whitened = magnitudes / (np.sqrt(power) + _QUIET)
        for weight, below, part in overtones:
            between = whitened[:, below] * (1 - part) + whitened[:, below + 1] * part
            salience[rows, : len(below)] += weight * between
    mean = salience / np.float32(sum(_FALL**number for number in range(_HARMONICS)))
    standing_out: npt.NDArray[np.float32] = np.maximum(0, mean - _NOISE) / _LOUD
    return standing_out


def _overtones(
    bins: npt.NDArray[np.float64], last_bin: int
) -> list[tuple[np.float32, npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Of pitches, rising, that are at `bins`, each overtone's weight, the bins below it, and how far above those it
    is. High pitches have fewer: what is beyond the last bin is left out."""
    overtones = []
    for number in range(_HARMONICS):
        own = bins * (number + 1)
        heard = own[own < last_bin]
        below = heard.astype(np.int64)
        overtones.append((np.float32(_FALL**number), below, (heard - below).astype(np.float32)))
    return overtones
