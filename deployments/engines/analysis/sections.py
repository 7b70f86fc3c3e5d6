"""Where a clip changes into something else, and what of it comes back.

A clip is described every half second by its chroma and its timbre; where what was and what comes are each
alike in themselves but not to each other, something new begins (J. Foote, "Automatic audio segmentation using
a measure of audio novelty", ICME 2000).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from deployments.engines.analysis.analysis import Section
from deployments.engines.analysis.mood import timbre
from deployments.engines.analysis.mood.timbre import Timbre
from deployments.engines.analysis.pitch import chroma
from deployments.engines.analysis.pitch.chroma import Peaks, chroma_of, tuning_of

MIN_DURATION_S = 20.0
"""Shorter clips have no sections."""

MIN_SECTION_S = 6.0
_REACH_S = 10.0
_FINEST_S = 0.5
_MOST_POINTS = 1200
"""The self-similarity is a matrix of so many rows and columns at most; longer clips get coarser ones."""

_NOVEL, _UNLIKE = 0.05, 0.03
"""Halves of squared distances between what is on both sides of a boundary, and between sections with
different letters. Of the corpus's pieces, put one after the other, 13 of 16 boundaries pass the first, and 2
of 8 pieces have such a place inside."""

_SILENT_DB = -75.0

_Values = npt.NDArray[np.float64]


def find_sections(sounds: Timbre, peaks: Peaks, duration_s: float) -> tuple[Section, ...]:
    """Sections that cover the whole clip; none where it is shorter than `MIN_DURATION_S` or silent."""
    if duration_s < MIN_DURATION_S or sounds.bands_db.max() < _SILENT_DB:
        return ()
    step_s = max(_FINEST_S, duration_s / _MOST_POINTS)
    points = describe_points(sounds, peaks, duration_s, step_s)
    similarity = points @ points.T
    starts = _boundaries(_novelty(similarity, round(_REACH_S / step_s)), round(MIN_SECTION_S / step_s))
    ends = [*starts[1:], len(points)]
    labels = _labels([points[start:end].mean(axis=0) for start, end in zip(starts, ends, strict=True)])
    # What sounds alike and follows itself is one section.
    changes = [index for index in range(len(labels)) if index == 0 or labels[index] != labels[index - 1]]
    labels = [labels[index] for index in changes]
    edges_s = [*(starts[index] * step_s for index in changes), duration_s]
    return tuple(
        Section(start_s, end_s, label)
        for start_s, end_s, label in zip(edges_s[:-1], edges_s[1:], labels, strict=True)
    )


def placed_in(sections: tuple[Section, ...], from_s: float, duration_s: float) -> tuple[Section, ...]:
    """Sections of what sounds from `from_s` on, as those of a whole clip: the silence before and after it belongs
    to the first and the last."""
    if not sections:
        return ()
    edges_s = [0.0, *(section.start_s + from_s for section in sections[1:]), duration_s]
    return tuple(
        Section(start_s, end_s, section.label)
        for start_s, end_s, section in zip(edges_s[:-1], edges_s[1:], sections, strict=True)
    )


def describe_points(sounds: Timbre, peaks: Peaks, duration_s: float, step_s: float) -> _Values:
    """[points, features], each of length 1: half of it what sounds (chroma), half of it how (bands)."""
    count = max(1, math.ceil(duration_s / step_s))
    tones = _pooled(chroma_of(peaks, tuning_of(peaks)[0], 30.0, 96.0), chroma.HOP_S, step_s, count)
    bands = _pooled(sounds.bands_db, timbre.HOP_S, step_s, count)
    bands = np.maximum(bands - bands.max() + 60.0, 0.0)
    bands -= 0.5 * bands.mean(axis=0)
    return _of_length_1(
        np.concatenate([_of_length_1(np.sqrt(_smoothed(tones))), 1.4 * _of_length_1(bands)], axis=1)
    )


def _pooled(rows: npt.NDArray[np.float32], hop_s: float, step_s: float, count: int) -> _Values:
    """The means of the rows in each step; of a step without any, the row before it."""
    edges = np.minimum(np.arange(count + 1) * step_s / hop_s, len(rows)).round().astype(int)
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])
    begin = np.minimum(edges[:-1], len(rows) - 1)
    end = np.maximum(edges[1:], begin + 1)
    means: _Values = (total[end] - total[begin]) / (end - begin)[:, None]
    return means


def _smoothed(rows: _Values) -> _Values:
    """Over a bar or so, so that chords don't count as sections."""
    around = 4
    padded = np.pad(rows, ((around, around), (0, 0)), mode="edge")
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(padded, axis=0)])
    means: _Values = (total[2 * around + 1 :] - total[: -2 * around - 1]) / (2 * around + 1)
    return np.maximum(means, 0.0)


def _of_length_1(rows: _Values) -> _Values:
    scaled: _Values = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return scaled


def _novelty(similarity: _Values, reach: int) -> _Values:
    """[points]: by how much the points around are more like those on their own side than those on the
    other."""
    count = len(similarity)
    total = np.pad(np.cumsum(np.cumsum(similarity, axis=0), axis=1), ((1, 0), (1, 0)))

    def mean(top: int, bottom: int, left: int, right: int) -> float:
        block = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        return float(block) / ((bottom - top) * (right - left))

    novelty = np.zeros(count)
    for point in range(1, count):
        before, after = max(0, point - reach), min(count, point + reach)
        own = 0.5 * (mean(before, point, before, point) + mean(point, after, point, after))
        novelty[point] = own - mean(before, point, point, after)
    return novelty


def _boundaries(novelty: _Values, nearest: int) -> list[int]:
    """Where sections begin, 0 first: the greatest peaks of novelty that keep `nearest` points between
    them."""
    starts = [0]
    ends = len(novelty)
    peaks = np.flatnonzero(novelty == maximum_filter1d(novelty, nearest))
    for point in peaks[np.argsort(-novelty[peaks], kind="stable")]:
        if novelty[point] < _NOVEL:
            break
        if ends - point >= nearest and all(abs(point - start) >= nearest for start in starts):
            starts.append(int(point))
    return sorted(starts)


def _labels(means: list[_Values]) -> list[str]:
    """A letter for each: that of the likest before it if it is like enough, else the next one."""
    known: list[_Values] = []
    labels: list[int] = []
    for mean in means:
        distances = [0.5 * float(np.square(mean - other).sum()) for other in known]
        if distances and min(distances) < _UNLIKE:
            labels.append(int(np.argmin(distances)))
        else:
            labels.append(len(known))
            known.append(mean)
    return [_letters(label) for label in labels]


def _letters(number: int) -> str:
    """A to Z, then AA, AB, ..."""
    letters = ""
    while number >= 0:
        letters = chr(ord("A") + number % 26) + letters
        number = number // 26 - 1
    return letters
