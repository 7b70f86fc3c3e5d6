"""Which key a clip is in, if any.

The weights of a clip's pitches, of the bass and of all above it, are compared with profiles of both modes,
moved to each of the twelve tonics. `key_profiles.json` beside this module holds them: `python -m
training.analysis.key` made it.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Key
from deployments.engines.analysis.pitch.chroma import Peaks, chroma_of, find_peaks, tuning_of
from deployments.engines.analysis.pitch.keys import ALL_KEYS

FILE = Path(__file__).with_name("key_profiles.json")

_TREBLE = (45.0, 96.0)
_BASS = (24.0, 52.0)
"""MIDI pitches."""

_AGREEMENT, _LASTING, _CLEAR = (0.25, 0.45), (0.62, 0.76), (0.4, 1.0)
"""Where tonality begins, and where it is whole."""

_CLEAR_WEIGHT = 1.5

_Values = npt.NDArray[np.float64]

NO_KEY = Key(None, 0.0, None, None, None)


def analyse_key(mono: Samples) -> Key:
    """Of float32 [samples] at 22.05 kHz."""
    return key_of(find_peaks(mono))


def key_of(peaks: Peaks) -> Key:
    """No name where nothing has a lasting pitch (silence, noise, clicks, drums), or there is only one."""
    tuning_cents, _ = tuning_of(peaks)
    tonality = tonality_of(peaks)
    if tonality <= 0.0:
        return NO_KEY
    features = key_features(peaks, tuning_cents)
    scores = key_scores(features)
    richness = _richness(features)
    if richness <= 0.0:
        return Key(None, 0.0, None, None, round(tuning_cents, 1))
    likely = np.exp(scores - scores.max())
    likely /= likely.sum()
    best, second = (ALL_KEYS[index] for index in np.argsort(-likely, kind="stable")[:2])
    confidence = tonality * richness * float(likely.max())
    return Key(str(best), confidence, best.camelot, str(second), round(tuning_cents, 1))


def key_features(peaks: Peaks, tuning_cents: float) -> _Values:
    """[24]: the shares of the pitch classes above the bass, then in it; each half adds up to 1, or is all
    0."""
    halves = []
    for low, high in (_TREBLE, _BASS):
        frames = chroma_of(peaks, tuning_cents, low, high).astype(np.float64)
        # A frame counts as much as any other, however much there is in it.
        total = (frames / np.maximum(frames.sum(axis=1, keepdims=True), 1e-9)).sum(axis=0)
        halves.append(total / max(float(total.sum()), 1e-9))
    return np.concatenate(halves)


def key_scores(features: _Values) -> _Values:
    """[24], for `ALL_KEYS`: logarithms of how likely each is, less a constant."""
    profiles = _profiles()
    halves = features.reshape(2, 12)
    return np.array(
        [float((halves * np.roll(profiles[key.mode], key.tonic, axis=1)).sum()) for key in ALL_KEYS]
    )


def tonality_of(peaks: Peaks) -> float:
    """0..1: how far a clip is made of pitches that agree on a tuning, and last.

    Of the corpus's music the agreement is 0.5 to 0.9, of speech up to 0.25, of noise under 0.1; what lasts is
    0.78 and more of the weight in music, 0.6 in noise; and music has five and more peaks at once that stand
    out and last, one tone has one, noise and drums have next to none.
    """
    weight = float(peaks.weight.sum())
    if weight <= 0.0:
        return 0.0
    _, agreement = tuning_of(peaks)
    lasting = float((peaks.weight * peaks.lasting).sum()) / weight
    clear = float((peaks.weight * peaks.lasting > _CLEAR_WEIGHT).sum()) / peaks.frames
    return _ramp(agreement, *_AGREEMENT) * _ramp(lasting, *_LASTING) * _ramp(clear, *_CLEAR)


def _ramp(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _richness(features: _Values) -> float:
    """0..1: how many pitch classes there are; one tone is no key, a triad hints at one."""
    shares = features[:12]
    many = math.exp(-float((shares * np.log(shares + 1e-12)).sum()))
    return _ramp(many, 1.2, 4.0)


@cache
def _profiles() -> dict[str, _Values]:
    """[2, 12] for each mode, from the tonic up: above the bass, and in it."""
    record = json.loads(FILE.read_text())
    return {mode: np.array([part["treble"], part["bass"]]) for mode, part in record["profiles"].items()}
