"""Which pitches sound: the peaks of a clip's spectra, how they are tuned, and what they add up to by pitch
class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft

from deployments.audio.samples import Samples
from deployments.engines.analysis.clip import LISTENING_RATE_HZ

WINDOW_SAMPLES = 8192
HOP_SAMPLES = 4096
HOP_S = HOP_SAMPLES / LISTENING_RATE_HZ

LOWEST_HZ, HIGHEST_HZ = 38.0, 2100.0
"""From below a bass guitar's lowest string to where overtones outnumber fundamentals."""

_LOWEST_BIN = math.floor(LOWEST_HZ * WINDOW_SAMPLES / LISTENING_RATE_HZ)
_HIGHEST_BIN = math.ceil(HIGHEST_HZ * WINDOW_SAMPLES / LISTENING_RATE_HZ)
_BLOCK_FRAMES = 64
_SILENT = 1e-3
"""Of a sum over a Hann window: a sine of -114 dBFS. What is less is the rounding of 16 bits."""
_RANGE = 10 ** (-50 / 20)
_STANDS_OUT = 2.0
_REACH_BINS = 24

_Values = npt.NDArray[np.float32]
_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Peaks:
    """Peaks of spectra, one element each: the frame (one every `HOP_S`), the pitch in semitones as MIDI
    counts them (69 is 440 Hz), and the weight, which is how far a peak stands out of its surroundings, in
    nepers.

    `lasting` is the share of a peak's weight that was there a frame before or after too.
    """

    frames: int
    frame: _Numbers
    pitch: _Values
    weight: _Values
    lasting: _Values


def find_peaks(mono: Samples) -> Peaks:
    """Of float32 [samples] at 22.05 kHz. Silence has none."""
    half = WINDOW_SAMPLES // 2
    frames = 1 + max(0, mono.size - 1) // HOP_SAMPLES
    padded = np.pad(mono, (half, half + frames * HOP_SAMPLES - mono.size))
    windows = sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    found = []
    for first in range(0, frames, _BLOCK_FRAMES):
        # One more on each side, to see what lasts.
        start, end = max(0, first - 1), min(frames, first + _BLOCK_FRAMES + 1)
        spectra = rfft(windows[start:end] * window, axis=1)[:, _LOWEST_BIN - 1 : _HIGHEST_BIN + 2]
        found.append(_peaks_of(np.abs(spectra), start, first, min(frames, first + _BLOCK_FRAMES)))
    frame, pitch, weight, lasting = (np.concatenate(column) for column in zip(*found, strict=True))
    return Peaks(frames, frame, pitch, weight, lasting)


def _peaks_of(
    magnitudes: _Values, start: int, first: int, end: int
) -> tuple[_Numbers, _Values, _Values, _Values]:
    """Of frames `first` to `end`; `magnitudes` begins with frame `start` and perhaps goes on after `end`."""
    around = _moving_means(magnitudes)
    inner = magnitudes[:, 1:-1]
    floor = np.maximum(inner.max(axis=1, keepdims=True) * np.float32(_RANGE), np.float32(_SILENT))
    is_peak = (inner > magnitudes[:, :-2]) & (inner >= magnitudes[:, 2:])
    is_peak &= inner > np.maximum(floor, np.float32(_STANDS_OUT) * around[:, 1:-1])
    own = slice(first - start, end - start)
    row, column = np.nonzero(is_peak[own])
    row, column = row + own.start, column + 1
    left, middle, right = (np.log(np.maximum(magnitudes[row, column + step], 1e-9)) for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    offset = np.where(bend < -1e-6, 0.5 * (left - right) / np.minimum(bend, -1e-6), 0.0)
    frequency_hz = (column + _LOWEST_BIN - 1 + offset) * (LISTENING_RATE_HZ / WINDOW_SAMPLES)
    weight = np.log(magnitudes[row, column] / around[row, column])
    before, after = np.maximum(row - 1, 0), np.minimum(row + 1, len(magnitudes) - 1)
    beside = np.maximum(
        np.where(before < row, magnitudes[before, column], 0.0),
        np.where(after > row, magnitudes[after, column], 0.0),
    )
    lasting = np.minimum(1.0, beside / magnitudes[row, column])
    return (
        (row + start).astype(np.int64),
        (69.0 + 12.0 * np.log2(frequency_hz / 440.0)).astype(np.float32),
        weight.astype(np.float32),
        lasting.astype(np.float32),
    )


def _moving_means(magnitudes: _Values) -> _Values:
    """Over the bins around each."""
    total = np.cumsum(np.pad(magnitudes, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    bins = magnitudes.shape[1]
    low = np.maximum(np.arange(bins) - _REACH_BINS, 0)
    high = np.minimum(np.arange(bins) + _REACH_BINS + 1, bins)
    means = (total[:, high] - total[:, low]) / (high - low)
    floored: _Values = np.maximum(means, 1e-9).astype(np.float32)
    return floored


def tuning_of(peaks: Peaks) -> tuple[float, float]:
    """How far pitches are off A = 440 Hz in cents, -50..50, and how much they agree on it, 0..1.

    The mean direction of the peaks' deviations from the nearest semitone, each taken as an angle.
    """
    heavy = peaks.weight * peaks.lasting * (peaks.pitch > _CLEAR_PITCH)
    total = float(heavy.sum())
    if total <= 0.0:
        return 0.0, 0.0
    mean = complex((heavy * np.exp(2j * np.pi * peaks.pitch)).sum()) / total
    cents = 100.0 * math.atan2(mean.imag, mean.real) / (2 * math.pi)
    return cents, min(1.0, abs(mean))


_CLEAR_PITCH = 48.0
"""Below it, 130 Hz, peaks of neighbouring semitones are one."""


def chroma_of(peaks: Peaks, tuning_cents: float, low: float, high: float) -> _Values:
    """float32 [frames, 12], C first: the weights of peaks whose pitch is between `low` and `high`, by pitch
    class."""
    pitch = peaks.pitch - np.float32(tuning_cents / 100.0)
    nearest = np.round(pitch)
    near = np.cos(np.pi * (pitch - nearest)) ** 2
    within = np.clip(np.minimum(pitch - low, high - pitch) / 3.0 + 0.5, 0.0, 1.0)
    cell = peaks.frame * 12 + nearest.astype(np.int64) % 12
    values = np.bincount(cell, peaks.weight * peaks.lasting * near * within, minlength=peaks.frames * 12)
    return values.reshape(-1, 12).astype(np.float32)
