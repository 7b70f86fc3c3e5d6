"""What an estimate is worth, given the truth: measures as they are usual in music information retrieval.

Tempo after F. Gouyon et al., "An Experimental Comparison of Audio Tempo Induction Algorithms" (2006); beats and
pitches with mir_eval's rules (C. Raffel et al., 2014); keys with the weights of MIREX's audio key detection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

TEMPO_TOLERANCE = 0.04
BEAT_TOLERANCE_S = 0.07
PITCH_TOLERANCE_CENTS = 50.0

_OCTAVES = (1.0, 2.0, 3.0, 1 / 2, 1 / 3)
_PITCH_CLASSES = {
    **dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True)),
    **{
        "C#": 1,
        "Db": 1,
        "D#": 3,
        "Eb": 3,
        "E#": 5,
        "Fb": 4,
        "F#": 6,
        "Gb": 6,
        "G#": 8,
        "Ab": 8,
        "A#": 10,
        "Bb": 10,
    },
}


def tempo_accuracy_1(bpm: float | None, truth_bpm: float) -> bool:
    """Within 4 % of the truth."""
    return bpm is not None and _is_near(bpm, truth_bpm)


def tempo_accuracy_2(bpm: float | None, truth_bpm: float) -> bool:
    """Within 4 % of the truth, its double or triple, its half or third."""
    return bpm is not None and any(_is_near(bpm, truth_bpm * ratio) for ratio in _OCTAVES)


def _is_near(bpm: float, wanted_bpm: float) -> bool:
    return abs(bpm / wanted_bpm - 1) <= TEMPO_TOLERANCE


def f_measure(
    found_s: Sequence[float], truth_s: Sequence[float], tolerance_s: float = BEAT_TOLERANCE_S
) -> float:
    """Of beats: twice the matched by all; each matches one other within the tolerance. 1 where both are empty.

    Both in order. Nothing is left out at the beginning (mir_eval can leave out the first 5 s).
    """
    if not len(found_s) and not len(truth_s):
        return 1.0
    matched = ours = theirs = 0
    while ours < len(found_s) and theirs < len(truth_s):
        apart_s = found_s[ours] - truth_s[theirs]
        if abs(apart_s) <= tolerance_s:
            matched, ours, theirs = matched + 1, ours + 1, theirs + 1
        elif apart_s < 0:
            ours += 1
        else:
            theirs += 1
    return 2 * matched / (len(found_s) + len(truth_s))


def mirex_key(name: str | None, truth: str) -> float:
    """1 for the key, 0.5 for the fifth above or below, 0.3 for the relative, 0.2 for the parallel key, else 0.

    Names as "F# minor". Raises ValueError for what is no key.
    """
    if name is None:
        return 0.0
    (tonic, is_major), (true_tonic, truly_major) = _key(name), _key(truth)
    above = (tonic - true_tonic) % 12
    if is_major == truly_major:
        return 1.0 if above == 0 else 0.5 if above in (5, 7) else 0.0
    if above == 0:
        return 0.2
    return 0.3 if above == (9 if truly_major else 3) else 0.0


def _key(name: str) -> tuple[int, bool]:
    tonic, _, mode = name.partition(" ")
    if tonic not in _PITCH_CLASSES or mode not in ("major", "minor"):
        raise ValueError(f"no key: {name!r}")
    return _PITCH_CLASSES[tonic], mode == "major"


def raw_pitch_accuracy(
    found_hz: Sequence[float | None],
    truth_hz: Sequence[float | None],
    tolerance_cents: float = PITCH_TOLERANCE_CENTS,
) -> float:
    """The share of frames with a true pitch whose estimate is within the tolerance; NaN where there is none. Both
    with the same frames; the shorter one goes on without pitches."""
    voiced = [index for index, truth in enumerate(truth_hz) if truth is not None]
    if not voiced:
        return float("nan")
    right = 0
    for index in voiced:
        found, truth = found_hz[index] if index < len(found_hz) else None, truth_hz[index]
        if found is not None and truth is not None and found > 0:
            right += abs(1200 * np.log2(found / truth)) <= tolerance_cents
    return right / len(voiced)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the interval that holds it with 95 % confidence."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f}–{self.high:.3f})"


def bootstrap(values: Sequence[float] | Sequence[bool], resamples: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean. All NaN where there are no values."""
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    each = np.asarray(values, np.float64)
    drawn = each[np.random.default_rng(seed).integers(len(each), size=(resamples, len(each)))]
    low, high = np.quantile(drawn.mean(axis=1), (0.025, 0.975))
    return Interval(float(each.mean()), float(low), float(high))


def bootstrap_difference(
    ours: Sequence[float] | Sequence[bool],
    theirs: Sequence[float] | Sequence[bool],
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Of the mean difference of two scores of the same clips."""
    return bootstrap(
        (np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).tolist(), resamples, seed
    )


def mean(items: Sequence[T], score: Callable[[T], float]) -> float:
    return bootstrap([score(each) for each in items]).mean


def share(items: Sequence[T], score: Callable[[T], float]) -> str:
    """The mean of scores with its interval, as a table shows it; a dash without any."""
    return str(bootstrap([score(each) for each in items])) if items else "–"
