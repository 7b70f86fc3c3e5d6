"""Which beats are a bar's first: what could be a bar, and what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d

from deployments.engines.analysis.rhythm.beats import Frames
from deployments.engines.analysis.rhythm.hypotheses import Hearing, heard_at, likeness
from deployments.engines.analysis.rhythm.onsets import Curve

METERS = (4, 3)
_NEAR_FRAMES = 3
_WITHIN = (0.0, 0.5)
_LIKENESS_LAGS = (2, 3, 4, 6, 8)
_FEWEST_BARS = 2


@dataclass(frozen=True, slots=True)
class Bars:
    """Every `meter`th beat from beat `first` on begins a bar. `features` is float32, with places of its own for
    each meter (zeros in those of the others)."""

    meter: int
    first: int
    features: Curve


def possible_bars(hearing: Hearing, beats: Frames) -> list[Bars]:
    """All there are; none where the beats are fewer than two bars."""
    everything = np.concatenate([hearing.onsets.flux[None], hearing.onsets.curves])
    around = maximum_filter1d(everything, 2 * _NEAR_FRAMES + 1, axis=1)
    if len(beats) < _FEWEST_BARS * max(METERS):
        return []
    heard = heard_at(around, beats, _WITHIN)  # [curves, places within the beat, beats]
    heard = (heard - heard.mean(axis=2, keepdims=True)) / (heard.std(axis=2, keepdims=True) + 0.2)
    alike = np.concatenate([likeness(heard[:, 0], lag) for lag in _LIKENESS_LAGS])
    sizes = [meter * len(heard) * len(_WITHIN) + len(alike) + 1 for meter in METERS]
    found = []
    for index, meter in enumerate(METERS):
        for first in range(meter):
            features = np.zeros(sum(sizes), np.float32)
            begin = sum(sizes[:index])
            places = [heard[:, :, (first + place) % meter :: meter].mean(axis=2) for place in range(meter)]
            features[begin : begin + sizes[index]] = np.concatenate([np.ravel(places), alike, [1]])
            found.append(Bars(meter, first, features))
    return found
