"""Beats of a given tempo: the path through the onsets that is loud and even (after D. Ellis, "Beat Tracking by
Dynamic Programming", 2007)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deployments.engines.analysis.rhythm.onsets import Curve

Frames = npt.NDArray[np.float64]

_TIGHTNESS = 80.0
"""What an interval that is off by a factor e costs, in onsets of usual strength."""

_SWAY = 0.16
"""Intervals are within this share of the period."""


def track_beats(strength: Curve, period: float) -> Frames:
    """Frames of the beats, from the first of `strength` [frames] to the last, `period` frames apart or nearly.

    Done in blocks as long as the shortest interval: no beat depends on another of its own block.
    """
    shortest = max(2, int(period * (1 - _SWAY)))
    longest = int(np.ceil(period * (1 + _SWAY)))
    lags = np.arange(shortest, longest + 1)
    cost = (_TIGHTNESS * np.log(lags / period) ** 2).astype(np.float32)
    frames = len(strength)
    # As if silence and any beat had been before the first frame.
    score = np.zeros(longest + frames, np.float32)
    before = np.zeros(longest + frames, np.int64)
    score[longest:] = strength
    steps = np.arange(shortest)[:, None] - lags
    for first in range(longest, longest + frames, shortest):
        here = slice(first, min(first + shortest, longest + frames))
        reached = score[(first + steps)[: here.stop - first]] - cost
        best = reached.argmax(axis=1)
        score[here] += reached[np.arange(len(best)), best]
        before[here] = np.arange(here.start, here.stop) - lags[best]
    last_stretch = score[-max(1, min(frames, round(period))) :]
    beat = len(score) - len(last_stretch) + int(last_stretch.argmax())
    beats = []
    while beat >= longest:
        beats.append(beat - longest)
        beat = int(before[beat])
    return np.array(beats[::-1], np.float64)


def refine_beats(strength: Curve, beats: Frames) -> Frames:
    """Beats between frames: where the parabola through the peak next to each one is highest. Beats without a peak
    within three frames stay."""
    reach = 3
    padded = np.pad(strength, reach + 1)
    whole = np.rint(beats).astype(np.int64)
    around = padded[whole[:, None] + np.arange(2 * reach + 3)]
    peak = 1 + around[:, 1:-1].argmax(axis=1)
    rows = np.arange(len(beats))
    left, top, right = (around[rows, peak + step] for step in (-1, 0, 1))
    bend = left - 2 * top + right
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(bend < 0, np.clip(0.5 * (left - right) / bend, -0.5, 0.5), 0)
    is_peak = (top >= left) & (top >= right) & (top > 0.1 * float(strength.max(initial=0.0)))
    refined: Frames = np.where(is_peak, whole + (peak - reach - 1) + shift, beats)
    return refined


def even_tempo(beats: Frames) -> tuple[float, float, float]:
    """The even grid that fits at least three beats best: its period, where its first beat is, and how far the beats
    are off it (the root of the mean square), all in frames. Those that are far off the rest don't pull."""
    numbers = np.arange(len(beats), dtype=np.float64)
    use = np.ones(len(beats), bool)
    period, start = np.polyfit(numbers, beats, 1)
    for _ in range(4):
        off = np.abs(beats - (start + period * numbers))
        kept = off <= max(2.5 * 1.4826 * float(np.median(off)), 0.5)
        if kept.sum() < 3 or (kept == use).all():
            break
        use = kept
        period, start = np.polyfit(numbers[use], beats[use], 1)
    off = np.abs(beats - (start + period * numbers))
    return (
        float(period),
        float(start),
        float(np.sqrt(np.mean(np.minimum(off, 3 * np.median(off) + 0.5) ** 2))),
    )
