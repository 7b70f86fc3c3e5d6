"""Tempo, beats and bars of a clip.

Onset curves, the tempos at which they repeat themselves, the beats that each of these would have, and a small
trained judge of which of them a listener would tap to; then the same for bars. All of it is a pure function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from deployments.engines.analysis.analysis import Rhythm
from deployments.engines.analysis.rhythm.bars import possible_bars
from deployments.engines.analysis.rhythm.beats import Frames, even_tempo, refine_beats
from deployments.engines.analysis.rhythm.hypotheses import Hearing, Hypothesis, hypotheses
from deployments.engines.analysis.rhythm.model import load_model
from deployments.engines.analysis.rhythm.onsets import FRAMES_PER_S, RATE_HZ, Curve, find_onsets

NO_RHYTHM = Rhythm(
    bpm=None,
    confidence=0.0,
    alternative_bpm=None,
    is_steady=False,
    beats_s=(),
    downbeats_s=(),
    meter=None,
)

_LATE_S = 0.006
"""By so much the onset curves' peaks are later than the notes (measured on the corpus)."""

_FEWEST_ONSETS = 4
_CHANCE, _CLEAR = 0.35, 1.25
"""Up to the first salience, what repeats itself could be chance; from the second on a pulse is as clear as music's
is. (Noise, speech and clicks at random have up to 0.35 in 10 s, the corpus's music has 1.1 and more.)"""

_ENOUGH_S = 10.0
"""In less time chance does more."""

_SURE_BAR = 0.4
_STEADY_S = 0.03
_ALIKE = 0.04


def analyse_rhythm(samples: npt.NDArray[np.float32], rate_hz: int = RATE_HZ) -> Rhythm:
    """Of float32 [samples], one channel at 22.05 kHz (other rates are a ValueError).

    `NO_RHYTHM` where there is nothing to tell a tempo from: silence, noise, a click, less than three beats. `bpm`
    is between 52 and 205; `confidence` is how likely the tempo is the one that a listener would tap, times how
    clear the pulse is. Beats go from the clip's beginning to its end.
    """
    if rate_hz != RATE_HZ:
        raise ValueError(f"rhythm is told at {RATE_HZ} Hz, not at {rate_hz}")
    onsets = find_onsets(np.nan_to_num(samples, posinf=0.0, neginf=0.0))
    if onsets is None or _count_onsets(onsets.flux) < _FEWEST_ONSETS:
        return NO_RHYTHM
    hearing = Hearing.of(onsets)
    clear = _clearness(float(hearing.repetition.salience.max()), len(samples) / RATE_HZ)
    possible = hypotheses(hearing)
    if not possible or clear <= 0:
        return NO_RHYTHM
    chances = load_model().beat.chances([each.features for each in possible])
    chosen = possible[int(chances.argmax())]
    families = _families(possible, chances)
    first, second = families[0], families[1] if len(families) > 1 else None
    beats = refine_beats(hearing.strength, chosen.beats)
    bpm, is_steady, beats = _tempo(beats)
    beats_s = beats / FRAMES_PER_S - _LATE_S
    meter, downbeats_s = _bars(hearing, beats, beats_s)
    return Rhythm(
        bpm=bpm,
        confidence=round(min(1.0, first[1] * clear), 4),
        alternative_bpm=None if second is None else _in_proportion(bpm, first[0], second[0]),
        is_steady=is_steady,
        beats_s=_within(beats_s, len(samples) / RATE_HZ),
        downbeats_s=_within(downbeats_s, len(samples) / RATE_HZ),
        meter=meter,
    )


def moved_by(rhythm: Rhythm, by_s: float) -> Rhythm:
    """The same rhythm so many seconds later."""
    if by_s == 0.0:
        return rhythm
    return replace(
        rhythm,
        beats_s=tuple(round(beat_s + by_s, 4) for beat_s in rhythm.beats_s),
        downbeats_s=tuple(round(beat_s + by_s, 4) for beat_s in rhythm.downbeats_s),
    )


def _count_onsets(flux: Curve) -> int:
    is_peak = (flux == maximum_filter1d(flux, 11)) & (flux > 1.0)
    return int(is_peak.sum())


def _clearness(salience: float, duration_s: float) -> float:
    chance = _CHANCE * max(1.0, _ENOUGH_S / duration_s)
    return float(np.clip((salience - chance) / (_CLEAR - _CHANCE), 0, 1))


def _families(possible: Sequence[Hypothesis], chances: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """Periods with their chances, the likeliest first: on and between the beats is one tempo."""
    sums: dict[float, float] = {}
    for each, chance in zip(possible, chances, strict=True):
        sums[each.period] = sums.get(each.period, 0.0) + float(chance)
    return sorted(sums.items(), key=lambda family: -family[1])


def _in_proportion(bpm: float, period: float, other: float) -> float:
    """The other tempo; exactly the half, the double or the like where it is nearly that."""
    ratio = period / other
    for simple in (1 / 3, 1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2.0, 3.0):
        if abs(ratio / simple - 1) < _ALIKE:
            return bpm * simple
    return bpm * ratio


def _tempo(beats: Frames) -> tuple[float, bool, Frames]:
    """BPM, whether it is steady, and the beats: on an even grid where they are within a few hundredths of a second
    of one, else as they are."""
    period, start, off = even_tempo(beats)
    is_steady = off / FRAMES_PER_S < _STEADY_S
    if not is_steady:
        span = min(4, len(beats) - 1)
        period = float(np.median(beats[span:] - beats[:-span])) / span
    else:
        beats = start + period * np.arange(len(beats), dtype=np.float64)
    return 60 * FRAMES_PER_S / period, is_steady, beats


def _bars(hearing: Hearing, beats: Frames, beats_s: Frames) -> tuple[int | None, Frames]:
    possible = possible_bars(hearing, beats)
    if not possible:
        return None, beats_s[:0]
    chances = load_model().bar.chances([each.features for each in possible])
    best = possible[int(chances.argmax())]
    if chances.max() < _SURE_BAR:
        return None, beats_s[:0]
    return best.meter, beats_s[best.first :: best.meter]


def _within(times_s: Frames, duration_s: float) -> tuple[float, ...]:
    clipped = np.clip(times_s, 0.0, duration_s)
    return tuple(float(time_s) for time_s in np.unique(np.round(clipped, 4)))
