"""What could be the beat of a clip, and what speaks for it and against it.

A hypothesis is a tempo with its beats: those that fit the onsets best, or the ones halfway between them. Its
features say what is heard on the beats and between them, whether every second or third or fourth is another, and
how much the clip is like itself so many beats later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from deployments.engines.analysis.rhythm.beats import Frames, track_beats
from deployments.engines.analysis.rhythm.onsets import BASS_PITCHES, FRAMES_PER_S, TONAL_HOP_S, Curve, Onsets
from deployments.engines.analysis.rhythm.tempo import Repetition, candidate_periods, find_repetition

_NEAR_FRAMES = 3
_LAGS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0, 3 / 2, 2.0, 3.0, 4.0)
_BEAT_LAGS = (4, 6, 8)
_CHORD_BEATS = (2, 3, 4, 6, 8, 16)
_BARS = (2, 3, 4, 6, 8)
_WITHIN = (0.0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4)
_USUAL_BPM = 110.0
_FEWEST_BEATS = 3


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """`period` and `beats` are in frames of the onsets, `is_between`: the beats are halfway between the ones that
    fit best. `features` is float32, the same names in the same order for every hypothesis."""

    period: float
    beats: Frames
    is_between: bool
    features: Curve


@dataclass(frozen=True, slots=True)
class Hearing:
    """A clip as hypotheses are judged on it: onsets, how they repeat, the strength that beats follow, and the sums
    of the pitch profiles up to each tonal frame, [tonal frames + 1, pitches]."""

    onsets: Onsets
    repetition: Repetition
    strength: Curve
    pitch_sums: npt.NDArray[np.float64]

    @classmethod
    def of(cls, onsets: Onsets) -> Hearing:
        everything = np.concatenate([onsets.flux[None], onsets.curves])
        sums = np.cumsum(np.pad(onsets.profile, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
        return cls(onsets, find_repetition(everything), beat_strength(onsets), sums)


def beat_strength(onsets: Onsets) -> Curve:
    """What beats are drawn to, [frames]: everything that begins, and the low sounds once more."""
    strength: Curve = onsets.flux + 0.3 * onsets.curves[0] + 0.15 * onsets.curves[4]
    return strength


def hypotheses(hearing: Hearing) -> list[Hypothesis]:
    """All that are worth judging; none where nothing repeats itself or the clip is too short for three beats."""
    frames = len(hearing.strength)
    periods = [p for p in candidate_periods(hearing.repetition) if frames > (_FEWEST_BEATS + 1) * p]
    around = maximum_filter1d(
        np.concatenate([hearing.onsets.flux[None], hearing.onsets.curves]), 2 * _NEAR_FRAMES + 1, axis=1
    )
    found = []
    for period in periods:
        beats = track_beats(hearing.strength, period)
        if len(beats) < _FEWEST_BEATS + 1:
            continue
        between = (beats[:-1] + beats[1:]) / 2
        step = float(np.median(np.diff(beats)))
        for own, is_between in ((beats, False), (_to_the_ends(between, step, frames), True)):
            features = np.array(list(_features(hearing, around, period, own, is_between)), np.float32)
            found.append(Hypothesis(period, own, is_between, features))
    return found


def _to_the_ends(beats: Frames, step: float, frames: int) -> Frames:
    """With one more at each end where there is room."""
    before = [beats[0] - step] if beats[0] >= step else []
    after = [beats[-1] + step] if beats[-1] + step < frames else []
    extended: Frames = np.concatenate([before, beats, after])
    return extended


def _features(
    hearing: Hearing, around: Curve, period: float, beats: Frames, is_between: bool
) -> Iterator[float]:
    octave = float(np.log2(60 * FRAMES_PER_S / period / _USUAL_BPM))
    yield from (octave, octave**2, abs(octave), float(is_between))
    alike = hearing.repetition.at(period * np.array(_LAGS, np.float32))
    yield from alike.ravel().tolist()
    best = float(hearing.repetition.salience.max())
    yield float(np.interp(period, hearing.repetition.periods, hearing.repetition.salience)) - best
    heard = heard_at(around, beats, _WITHIN)
    mean = heard.mean(axis=2)  # [curves, places within the beat]
    yield from mean.ravel().tolist()
    yield from (mean[:, 0] - mean[:, 3]).tolist()
    yield from (mean[:, :1] / (mean.max(axis=1, keepdims=True) + 0.1)).ravel().tolist()
    on_beat = heard[:, 0]
    for bar in _BARS:
        yield from _spread(on_beat, bar).tolist()
    for lag in _BEAT_LAGS:
        yield from likeness(on_beat, lag).tolist()
    density = float(np.log2(_density(hearing.onsets.flux) * period + 0.05))
    yield from (density, density**2, abs(density - 1))
    yield from np.std(on_beat, axis=1).tolist()
    yield from _harmonic_rhythm(hearing.pitch_sums, beats)


def _harmonic_rhythm(pitch_sums: npt.NDArray[np.float64], beats: Frames) -> Iterator[float]:
    """Whether chords, and bass notes, last for so many beats: by how much more the pitches change where such chords
    would meet than elsewhere, compared over half a chord on each side; and how much they change on the whole."""
    at = np.clip(np.rint(beats / (FRAMES_PER_S * TONAL_HOP_S)).astype(np.int64), 0, len(pitch_sums) - 1)
    for sums in (pitch_sums[at], pitch_sums[at, :BASS_PITCHES]):
        for length in _CHORD_BEATS:
            span = max(1, length // 2)
            if len(at) < 2 * span + length + 1:
                yield from (0.0, 0.0)
                continue
            stretches = sums[span:] - sums[:-span]
            before, after = stretches[:-span], stretches[span:]
            norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
            changes = 1 - (before * after).sum(axis=1) / (norms + 1e-9)
            meet = max(float(changes[first::length].mean()) for first in range(length))
            overall = float(changes.mean())
            yield from ((meet - overall) / (overall + 0.02), 10 * overall)


def heard_at(around: Curve, beats: Frames, places: Sequence[float]) -> Curve:
    """[curves, places, beats]: what `around` [curves, frames] is at `places` after each beat, in beats."""
    steps = np.diff(beats, append=2 * beats[-1] - beats[-2])
    at = beats + np.multiply.outer(np.array(places), steps)
    frames = np.clip(np.rint(at).astype(np.int64), 0, around.shape[1] - 1)
    heard: Curve = around[:, frames]
    return heard


def _spread(on_beat: Curve, bar: int) -> npt.NDArray[np.float64]:
    """By how much a bar's strongest place is above its mean, for each curve."""
    bars = on_beat.shape[1] // bar
    if bars < 2:
        return np.zeros(len(on_beat))
    places = on_beat[:, : bars * bar].reshape(len(on_beat), bars, bar).mean(axis=1)
    spread: npt.NDArray[np.float64] = places.max(axis=1) - places.mean(axis=1)
    return spread


def likeness(on_beat: Curve, lag: int) -> npt.NDArray[np.float64]:
    """Correlation of what is heard on beats with what is so many beats later, for each curve."""
    if on_beat.shape[1] < lag + 4:
        return np.zeros(len(on_beat))
    off = on_beat - on_beat.mean(axis=1, keepdims=True)
    early, late = off[:, :-lag], off[:, lag:]
    scale = np.sqrt((early**2).sum(axis=1) * (late**2).sum(axis=1))
    likeness: npt.NDArray[np.float64] = (early * late).sum(axis=1) / (scale + 0.3)
    return likeness


def _density(flux: Curve) -> float:
    """Onsets per frame."""
    reach = 5
    is_peak = (flux == maximum_filter1d(flux, 2 * reach + 1)) & (flux > 0.5)
    return float(is_peak.mean())
