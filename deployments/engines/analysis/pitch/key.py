"""Which key a clip is in, if any.

What `tonic` finds in a clip is moved to each of the twelve tonics and weighed for both modes. `key_model.json`
beside this module holds the weights: `python -m training.analysis.key` made it.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Key, Rhythm
from deployments.engines.analysis.pitch.chroma import Peaks, find_peaks, tuning_of
from deployments.engines.analysis.pitch.keys import ALL_KEYS, MODES
from deployments.engines.analysis.pitch.tonic import ROWS, tonic_evidence
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm

FILE = Path(__file__).with_name("key_model.json")

_AGREEMENT, _LASTING, _CLEAR = (0.25, 0.45), (0.62, 0.76), (0.4, 1.0)
"""Where tonality begins, and where it is whole."""

_CLEAR_WEIGHT = 1.5

_Values = npt.NDArray[np.float64]

NO_KEY = Key(None, 0.0, None, None, None)


def analyse_key(mono: Samples, rhythm: Rhythm | None = None) -> Key:
    """Of float32 [samples] at 22.05 kHz; `rhythm` is the clip's, found here unless given."""
    return key_of(find_peaks(mono), analyse_rhythm(mono) if rhythm is None else rhythm)


def key_of(peaks: Peaks, rhythm: Rhythm) -> Key:
    """No name where nothing has a lasting pitch (silence, noise, clicks, drums), or there is only one."""
    tuning_cents, _ = tuning_of(peaks)
    tonality = tonality_of(peaks)
    if tonality <= 0.0:
        return NO_KEY
    evidence, changes = tonic_evidence(peaks, tuning_cents, rhythm)
    richness = _richness(evidence[ROWS.index("treble")])
    if richness <= 0.0:
        return Key(None, 0.0, None, None, round(tuning_cents, 1))
    scores = key_scores(evidence, changes)
    likely = np.exp(scores - scores.max())
    likely /= likely.sum()
    best, second = (ALL_KEYS[index] for index in np.argsort(-likely, kind="stable")[:2])
    confidence = tonality * richness * float(likely.max())
    return Key(str(best), confidence, best.camelot, str(second), round(tuning_cents, 1))


def moved_evidence(evidence: _Values, changes: _Values) -> _Values:
    """float64 [24, features], for `ALL_KEYS`: what `tonic_evidence` returns, from each key's tonic up."""
    moved = []
    for key in ALL_KEYS:
        rows = np.roll(evidence, -key.tonic, axis=1)
        moved.append(np.append(rows, np.roll(changes, (-key.tonic, -key.tonic), axis=(0, 1))))
    return np.stack(moved)


def key_scores(evidence: _Values, changes: _Values) -> _Values:
    """float64 [24], for `ALL_KEYS`: logarithms of how likely each is, less a constant."""
    moved = moved_evidence(evidence, changes)
    weights = _weights()
    return np.array([float(row @ weights[key.mode]) for key, row in zip(ALL_KEYS, moved, strict=True)])


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


def _richness(shares: _Values) -> float:
    """0..1: how many pitch classes there are; one tone is no key, a triad hints at one."""
    many = math.exp(-float((shares * np.log(shares + 1e-12)).sum()))
    return _ramp(many, 1.2, 4.0)


@cache
def _weights() -> dict[str, _Values]:
    """[features] for each mode, in the order of `moved_evidence`."""
    record = json.loads(FILE.read_text())["weights"]
    return {
        mode: np.concatenate([np.ravel(record[mode][name]) for name in (*ROWS, "changes")]) for mode in MODES
    }
