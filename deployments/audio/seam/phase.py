"""By how many samples one signal is later than another that it is a copy of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deployments.audio.samples import Samples

_AS_GOOD = 0.0005
"""Of lags whose correlation is as good as the best by so much the shortest is taken: a tone has many."""


@dataclass(frozen=True, slots=True)
class Lag:
    """`likeness` is the correlation there, -1..1."""

    samples: int
    likeness: float


def find_lag(reference: Samples, copy: Samples) -> Lag:
    """Where in `copy` the `reference` lies, from the middle: both [channels, samples], `copy` longer by twice the
    longest lag that is looked for. Compared without DC, all channels together, by normalised correlation.
    """
    from scipy.signal import correlate  # takes most of a second, and few who import this module need it

    length = reference.shape[1]
    longest = (copy.shape[1] - length) // 2
    if longest < 0 or not length:
        raise ValueError("the copy must be as long as the reference or longer")
    wanted = reference.astype(np.float64)
    wanted -= wanted.mean(axis=1, keepdims=True)
    given = copy[:, : length + 2 * longest].astype(np.float64)
    given -= given.mean(axis=1, keepdims=True)
    products = sum(
        correlate(there, here, mode="valid", method="fft") for there, here in zip(given, wanted, strict=True)
    )
    sums = np.cumsum(np.pad(given, ((0, 0), (1, 0))), axis=1)
    squares = np.cumsum(np.pad(np.square(given), ((0, 0), (1, 0))), axis=1)
    means = (sums[:, length:] - sums[:, :-length]) / length
    power = (squares[:, length:] - squares[:, :-length] - length * np.square(means)).sum(axis=0)
    scale = np.sqrt(np.maximum(power, 0.0) * float(np.square(wanted).sum()))
    floor = 1e-12 * length
    likeness = np.where(scale > floor, products / np.maximum(scale, floor), 0.0)
    good = np.flatnonzero(likeness >= likeness.max() - _AS_GOOD) - longest
    lag = int(good[np.abs(good).argmin()])
    found = float(likeness[lag + longest])
    return Lag(lag, found if math.isfinite(found) else 0.0)
