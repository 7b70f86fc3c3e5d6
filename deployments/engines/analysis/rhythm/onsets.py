"""Where something begins in a clip: curves over time that rise with every stroke, note and change of harmony.

Spectral flux with a maximum filter over neighbouring bands (SuperFlux: S. Böck and G. Widmer, "Maximum Filter
Vibrato Suppression for Onset Detection", DAFx 2013), in four ranges so that bass drum, snare and hat can be told
apart, and two curves for chords and bass notes that change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import resample_poly

Curve = npt.NDArray[np.float32]

HOP_SAMPLES = 220
"""Of 22.05 kHz: about a hundredth of a second."""

RATE_HZ = 22_050
FRAMES_PER_S = RATE_HZ / HOP_SAMPLES

RANGES_HZ = (("low", 0, 150), ("body", 150, 800), ("mid", 800, 4000), ("high", 4000, 11_025))
CURVES = ("low", "body", "mid", "high", "chords", "bass")

_WINDOW_SAMPLES = 1024
_BANDS = 48
_LOWEST_HZ, _HIGHEST_HZ = 27.0, 10_500.0
_LAG_FRAMES = 2
_CONTRAST = 300.0
"""Magnitudes are compressed as log(1 + contrast * magnitude), of the clip's loudest."""

_GROUP_FRAMES = 512

_SLOWDOWN = 8
_TONAL_WINDOW, _TONAL_FFT, _TONAL_HOP = 512, 1024, 128
_TONAL_RATE_HZ = RATE_HZ / _SLOWDOWN
BASS_PITCHES = 24
_LOWEST_PITCH, _PITCHES = 28, 60
_TONAL_SPAN_S = 0.35


@dataclass(frozen=True, slots=True)
class Onsets:
    """`curves` is float32 [curves, frames] in `CURVES`' order, each with the mean of its neighbourhood taken out,
    never negative, its root mean square about 1 (less for ranges where next to nothing happens). `flux` is float32
    [frames]: all ranges together. `profile` is float32 [tonal frames, pitches]: how loud each semitone is, one
    frame each `TONAL_HOP_S`. Frame k is about time k / FRAMES_PER_S."""

    flux: Curve
    curves: Curve
    profile: Curve


TONAL_HOP_S = _TONAL_HOP * _SLOWDOWN / RATE_HZ


def find_onsets(samples: Curve) -> Onsets | None:
    """Of float32 [samples] at 22.05 kHz; None where there is nothing to hear at all, or too little time for it."""
    if len(samples) < _WINDOW_SAMPLES:
        return None
    loudest = float(np.abs(samples).max())
    if not loudest > 1e-5:
        return None
    bands = _loudness(samples)
    reference = maximum_filter1d(bands[:-_LAG_FRAMES], 3, axis=1)
    rises = np.maximum(bands[_LAG_FRAMES:] - reference, 0)
    rises = np.concatenate([np.zeros((_LAG_FRAMES, _BANDS), np.float32), rises])
    flux = rises.mean(axis=1)
    _, ranges = _filters()
    profile = _pitch_profile(samples / np.float32(loudest))
    tonal = [_novelty(profile, len(flux)), _novelty(profile[:, :BASS_PITCHES], len(flux))]
    curves = np.concatenate([(rises @ ranges).T, np.stack(tonal)])
    overall = _sharpened(flux[None])
    scale = float(np.sqrt(np.square(overall).mean())) + 1e-9
    own = _sharpened(curves)
    power = np.sqrt(np.square(own).mean(axis=1, keepdims=True))
    floor = np.array([[0.25 * scale]] * len(RANGES_HZ) + [[0.02], [0.02]], np.float32)
    return Onsets((overall[0] / scale).astype(np.float32), own / (power + floor), profile)


def _loudness(samples: Curve) -> Curve:
    """[frames, bands], compressed."""
    edge = _WINDOW_SAMPLES // 2
    padded = np.pad(samples, edge)
    frames = sliding_window_view(padded, _WINDOW_SAMPLES)[::HOP_SAMPLES]
    weights, _ = _filters()
    window = np.hanning(_WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    bands = np.empty((len(frames), _BANDS), np.float32)
    for first in range(0, len(frames), _GROUP_FRAMES):
        spectra = rfft(frames[first : first + _GROUP_FRAMES] * window, axis=1)
        bands[first : first + _GROUP_FRAMES] = np.abs(spectra) @ weights
    reference = float(np.quantile(bands.max(axis=1), 0.95)) + 1e-9
    loudness: Curve = np.log1p(bands * np.float32(_CONTRAST / reference))
    return loudness


@cache
def _filters() -> tuple[Curve, Curve]:
    """From bins to bands, [bins, bands], triangles on the mel scale that each add up to 1; and from bands to the
    mean of each range, [bands, ranges]."""
    edges_mel = np.linspace(_to_mel(_LOWEST_HZ), _to_mel(_HIGHEST_HZ), _BANDS + 2)
    edges_hz = 700 * np.expm1(edges_mel / 1127)
    bins_hz = np.arange(_WINDOW_SAMPLES // 2 + 1) * RATE_HZ / _WINDOW_SAMPLES
    lower, center, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    # No band is narrower than what the window can tell apart.
    spread = np.maximum((upper - lower) / 2, 1.5 * RATE_HZ / _WINDOW_SAMPLES)
    weights = np.maximum(0, 1 - np.abs(bins_hz[:, None] - center) / spread)
    weights /= weights.sum(axis=0)
    ranges = np.array([(center >= low) & (center < high) for _, low, high in RANGES_HZ], np.float64).T
    return weights.astype(np.float32), (ranges / ranges.sum(axis=0)).astype(np.float32)


def _to_mel(frequency_hz: float) -> float:
    return 1127 * float(np.log1p(frequency_hz / 700))


def _sharpened(curves: Curve) -> Curve:
    """What stands out of its surroundings of 0.8 s, [curves, frames]."""
    span = round(0.8 * FRAMES_PER_S)
    sharpened: Curve = np.maximum(curves - uniform_filter1d(curves, span, axis=1), 0)
    return sharpened


def _pitch_profile(samples: Curve) -> Curve:
    slow = resample_poly(samples, 1, _SLOWDOWN).astype(np.float32)
    padded = np.pad(slow, _TONAL_WINDOW // 2)
    frames = sliding_window_view(padded, _TONAL_WINDOW)[::_TONAL_HOP]
    window = np.hanning(_TONAL_WINDOW + 1)[:-1].astype(np.float32)
    spectra = np.abs(rfft(frames * window, _TONAL_FFT, axis=1))
    profile: Curve = np.log1p(spectra @ _semitones())
    return profile


@cache
def _semitones() -> Curve:
    """From bins to semitones from E1 on, [bins, pitches]."""
    bins_hz = np.arange(_TONAL_FFT // 2 + 1) * _TONAL_RATE_HZ / _TONAL_FFT
    pitches_hz = 440 * 2 ** ((np.arange(_PITCHES) + _LOWEST_PITCH - 69) / 12)
    spread = np.maximum(pitches_hz * (2 ** (1 / 12) - 1), _TONAL_RATE_HZ / _TONAL_FFT)
    weights = np.maximum(0, 1 - np.abs(bins_hz[:, None] - pitches_hz) / spread)
    semitones: Curve = (weights / weights.sum(axis=0)).astype(np.float32)
    return semitones


def _novelty(profile: Curve, frames: int) -> Curve:
    """How much the pitches after each moment differ from those before it, 0..1, at the onsets' frames."""
    span = max(1, round(_TONAL_SPAN_S / TONAL_HOP_S))
    sums = np.concatenate(
        [np.zeros((1, profile.shape[1]), np.float64), np.cumsum(profile, axis=0, dtype=np.float64)]
    )
    at = np.arange(len(profile))
    after = sums[np.minimum(at + span, len(profile))] - sums[at]
    before = sums[at] - sums[np.maximum(at - span, 0)]
    strength = np.linalg.norm(after, axis=1) * np.linalg.norm(before, axis=1)
    floor = 1e-3 * span**2 + 1e-2 * float(strength.max(initial=0.0))
    alike = ((after * before).sum(axis=1) + floor) / (strength + floor)
    time_s = np.arange(frames) / FRAMES_PER_S
    # The sums change between frame `at - 1` and `at`.
    curve: Curve = np.interp(time_s, (at - 0.5) * TONAL_HOP_S, 1 - alike).astype(np.float32)
    return curve
