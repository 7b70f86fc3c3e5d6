"""The beats of a whole line, from those that were found in each of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(frozen=True, slots=True)
class NodeBeats:
    """A node that sounds from `start_s` up to `end_s` of the line; `beats_s` are times in the line, none where
    no grid is sure in it."""

    start_s: float
    end_s: float
    beats_s: tuple[float, ...] = ()


def line_beats(nodes: Sequence[NodeBeats]) -> list[float]:
    """Beats that rise, without a hole: where two nodes meet, a beat that both found is there once; where one found
    none, beats are set evenly between its neighbours' at about their tempo. Empty where no node has any.
    """
    found = [[beat_s for beat_s in node.beats_s if node.start_s <= beat_s < node.end_s] for node in nodes]
    steps_s = [after - before for beats in found for before, after in pairwise(beats)]
    if not steps_s:
        return []
    usual_s = median(steps_s)
    beats_s: list[float] = []
    for beats in found:
        own_s = median([after - before for before, after in pairwise(beats)]) if len(beats) > 1 else usual_s
        for beat_s in beats:
            if not beats_s:
                beats_s.append(beat_s)
                continue
            gap_s = beat_s - beats_s[-1]
            if gap_s < own_s / 2:
                continue
            missing = round(gap_s / own_s) - 1
            last_s = beats_s[-1]
            beats_s += [last_s + gap_s * index / (missing + 1) for index in range(1, missing + 1)]
            beats_s.append(beat_s)
    return beats_s
