"""What speaks for one tonic rather than another: not only which pitches sound, but where.

A loop of four chords has the same pitches whether it begins in minor or in its relative major. Listeners decide by
the bass, by the chord that a phrase, a bar or the clip begins with, by what comes last, and by how chords lead to
each other. Each of these is a row of twelve shares, one for each pitch class.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deployments.engines.analysis.analysis import Rhythm
from deployments.engines.analysis.pitch.chroma import HOP_S, Peaks, chroma_of

TREBLE = (45.0, 96.0)
BASS = (24.0, 52.0)
"""MIDI pitches."""

ROWS = (
    "treble",
    "bass",
    "opening, treble",
    "opening, bass",
    "ending, treble",
    "ending, bass",
    "downbeats, bass",
    "two bars, bass",
    "four bars, bass",
    "four bars, treble",
    "before four bars, bass",
    "major triads",
    "minor triads",
    "opening, major triad",
    "opening, minor triad",
    "ending, major triad",
    "ending, minor triad",
    "four bars, major triads",
    "four bars, minor triads",
)
"""Shares of pitch classes; triads go by their roots."""

_NO_BEATS_S = 0.5
"""Stretches of a clip without beats."""

_LATE_S = 0.04
"""A beat's own notes are heard from here on: the analysis window reaches over its edges."""

_EDGE_S = 1.2
"""How much of the music is its opening, and its ending; at least two beats of it."""

_SHARP = 12.0

_Values = npt.NDArray[np.float64]


def tonic_evidence(peaks: Peaks, tuning_cents: float, rhythm: Rhythm) -> tuple[_Values, _Values]:
    """Float64 [len(ROWS), 12], C first, each row adding up to 1 or all 0; and float64 [12, 12]: of all changes of
    the bass, the shares that go from each pitch class (row) to each other (column), all 0 without any.

    Depends neither on the level nor on silence around the music.
    """
    treble, bass = (_shares(chroma_of(peaks, tuning_cents, *pitches)) for pitches in (TREBLE, BASS))
    heard = np.flatnonzero(treble.sum(axis=1) + bass.sum(axis=1))
    if not heard.size:
        return np.zeros((len(ROWS), 12)), np.zeros((12, 12))
    start_s, end_s = float(heard[0]) * HOP_S, float(heard[-1] + 1) * HOP_S
    edges_s = _grid(rhythm, start_s, end_s)
    treble_beats, bass_beats = (_pooled(rows, edges_s) for rows in (treble, bass))
    major, minor = _triads(treble_beats + 0.5 * bass_beats)
    few = max(2, round(_EDGE_S / float(np.median(np.diff(edges_s)))))
    opening, ending = slice(0, few), slice(-few, None)
    bars = _bar_beats(rhythm, edges_s)
    phrases = bars[::4]
    before = bars[4::4] - 1
    rows = [
        treble, bass, treble_beats[opening], bass_beats[opening], treble_beats[ending], bass_beats[ending],
        bass_beats[bars], bass_beats[bars[::2]], bass_beats[phrases], treble_beats[phrases], bass_beats[before],
        major, minor, major[opening], minor[opening], major[ending], minor[ending], major[phrases], minor[phrases],
    ]  # fmt: skip
    evidence = np.stack([row.sum(axis=0) for row in rows])
    # A triad's share is of both kinds together.
    totals = evidence.sum(axis=1)
    for first in range(ROWS.index("major triads"), len(ROWS), 2):
        totals[first : first + 2] = totals[first : first + 2].sum()
    return evidence / np.maximum(totals, 1e-9)[:, None], _changes(bass_beats)


def _shares(rows: npt.NDArray[np.float32]) -> _Values:
    """A frame counts as much as any other, however much there is in it."""
    exact = rows.astype(np.float64)
    shares: _Values = exact / np.maximum(exact.sum(axis=1, keepdims=True), 1e-9)
    return shares


def _grid(rhythm: Rhythm, start_s: float, end_s: float) -> _Values:
    """The edges of beats between the first sound and the last, or of stretches of `_NO_BEATS_S`."""
    beats_s = np.array(rhythm.beats_s)
    within = beats_s[(beats_s >= start_s - 0.25) & (beats_s < end_s - 0.1)]
    if len(within) >= 4:
        return np.append(within, max(end_s, float(within[-1]) + 0.1))
    count = max(1, round((end_s - start_s) / _NO_BEATS_S))
    return np.linspace(start_s, end_s, count + 1)


def _pooled(rows: _Values, edges_s: _Values) -> _Values:
    """[stretches, 12]: shares between edges."""
    sums = np.concatenate([np.zeros((1, 12)), np.cumsum(rows, axis=0)])
    # Frame k is around k * HOP_S.
    at = np.clip((edges_s + _LATE_S) / HOP_S + 0.5, 0, len(rows))
    whole = np.minimum(at.astype(np.int64), len(rows) - 1)
    part = (at - whole)[:, None]
    between = sums[whole] * (1 - part) + sums[whole + 1] * part
    means = np.maximum(np.diff(between, axis=0), 0.0)  # rounding
    pooled: _Values = means / np.maximum(means.sum(axis=1, keepdims=True), 1e-9)
    return pooled


def _bar_beats(rhythm: Rhythm, edges_s: _Values) -> npt.NDArray[np.int64]:
    """Which stretches begin a bar; every fourth where no bars are known."""
    downbeats_s = np.array(rhythm.downbeats_s)
    starts_s = edges_s[:-1]
    if not len(downbeats_s):
        return np.arange(0, len(starts_s), 4)
    nearest = np.abs(starts_s[:, None] - downbeats_s).min(axis=1)
    return np.flatnonzero(nearest < 0.05)


def _triads(beats: _Values) -> tuple[_Values, _Values]:
    """[stretches, 12] of major and of minor: how likely each triad is what sounds; all 0 where nothing does."""
    likely = np.stack(
        [
            sum(weight * np.roll(beats, -step, axis=1) for step, weight in ((0, 1.1), (third, 1.0), (7, 0.9)))
            for third in (4, 3)
        ]
    )
    powers = np.exp(_SHARP * (likely - likely.max(axis=(0, 2), keepdims=True)))
    powers *= (beats.sum(axis=1) > 0)[:, None]
    powers /= np.maximum(powers.sum(axis=(0, 2), keepdims=True), 1e-9)
    return powers[0], powers[1]


def _changes(bass: _Values) -> _Values:
    pairs = np.einsum("ti,tj->ij", bass[:-1], bass[1:])
    np.fill_diagonal(pairs, 0.0)
    shares: _Values = pairs / max(float(pairs.sum()), 1e-9)
    return shares
