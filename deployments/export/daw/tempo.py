"""Beats and time: where each beat of a line lies, from its first sample on."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from deployments.export.media_errors import WrongValue

DEFAULT_BPM = 120.0
MAX_BPM = 999.0
"""Workstations take no faster tempo; a first beat nearer to the start than one beat of it is taken to be there."""

_LEAST_BEAT_S = 60.0 / MAX_BPM
_MOST_BEAT_S = 16.0
"""A tempo in MIDI has 24 bits of microseconds."""


@dataclass(frozen=True, slots=True)
class TempoMap:
    """`times_s[i]` is the time of beat i, the first at 0; the last is at the line's end or after it. Between two
    beats the tempo is constant. `pickup_beats` of them come before the first that was found, to fill the time up
    to it.
    """

    times_s: tuple[float, ...]
    pickup_beats: int = 0
    beats_per_bar: int = 4

    def beat_at(self, time_s: float) -> float:
        """The position of a time in beats, also after the last one."""
        index = min(max(0, bisect_right(self.times_s, time_s) - 1), len(self.times_s) - 2)
        start_s, end_s = self.times_s[index], self.times_s[index + 1]
        return index + (time_s - start_s) / (end_s - start_s)

    def bpm_of(self, beat: int) -> float:
        """The tempo from a beat to the next."""
        return 60.0 / (self.times_s[beat + 1] - self.times_s[beat])


def constant_tempo(duration_s: float, bpm: float = DEFAULT_BPM, beats_per_bar: int = 4) -> TempoMap:
    """For a line without a sure grid."""
    beat_s = 60.0 / bpm
    beats = max(1, math.ceil(duration_s / beat_s))
    return TempoMap(tuple(index * beat_s for index in range(beats + 1)), 0, beats_per_bar)


def tempo_map(beats_s: Sequence[float], duration_s: float, beats_per_bar: int = 4) -> TempoMap:
    """A map through beats that were found in a line; before and after them at their nearest tempo.

    With fewer than two beats it is `constant_tempo`. Raises WrongValue for beats that do not rise, and for steps
    that no tempo has (over MAX_BPM, slower than 3.75).
    """
    if not 1 <= beats_per_bar <= 32:
        raise WrongValue(f"A bar has 1 to 32 beats, not {beats_per_bar}.")
    found = [beat_s for beat_s in beats_s if math.isfinite(beat_s) and beat_s >= 0.0]
    if len(found) != len(beats_s):
        raise WrongValue("A beat's time must be 0 seconds or more.")
    if len(found) < 2:
        return constant_tempo(duration_s, beats_per_bar=beats_per_bar)
    steps_s = [after - before for before, after in pairwise(found)]
    if not all(_LEAST_BEAT_S <= step_s <= _MOST_BEAT_S for step_s in steps_s):
        raise WrongValue("The beats must rise, by steps that a tempo can have.")
    pickup = 0
    if found[0] < _LEAST_BEAT_S:
        found[0] = 0.0
    else:
        pickup = max(1, round(found[0] / steps_s[0]))
    times_s = [index * found[0] / max(1, pickup) for index in range(pickup)] + found
    while times_s[-1] < duration_s:
        times_s.append(times_s[-1] + steps_s[-1])
    return TempoMap(tuple(times_s), pickup, beats_per_bar)
