"""How much goes on in a clip, from one tenth of a second to the next."""

from __future__ import annotations

import itertools

import numpy as np

from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import EnergyCurve

HOP_S = 0.1
FLOOR_DBFS = -60.0
"""What is 0 on the curve, and everything below it."""

_HOPS_PER_WINDOW = 4


def energy_curve(mono: Samples, rate_hz: int) -> EnergyCurve:
    """The level of a clip, float32 [1, samples] or [samples]: one value for each begun `HOP_S`.

    Value i is the mean power of the 400 ms around i * `HOP_S` (as much of it as the clip has), the window of
    EBU R128's momentary loudness. Ears go by ratios, so the scale is one of decibels: 0 is -60 dBFS or less,
    1 is a full-scale square wave, and a step of 0.1 is 6 dB wherever it is.
    """
    signal = mono.reshape(-1)
    hops = max(1, -(-signal.size * 10 // rate_hz)) if signal.size else 0
    edges = np.minimum(np.round(np.arange(hops + 1) * (rate_hz * HOP_S)).astype(np.int64), signal.size)
    energies = np.array(
        [_energy(signal[start:end]) for start, end in itertools.pairwise(edges.tolist())], np.float64
    )
    reach = _HOPS_PER_WINDOW // 2
    total = np.concatenate([[0.0], np.cumsum(energies)])
    first = np.maximum(np.arange(hops) - reach, 0)
    last = np.minimum(np.arange(hops) + reach, hops)
    lengths = np.maximum(edges[last] - edges[first], 1)
    powers = np.maximum(total[last] - total[first], 0.0) / lengths
    levels_dbfs = 10.0 * np.log10(np.maximum(powers, 1e-30))
    values = np.clip(1.0 - levels_dbfs / FLOOR_DBFS, 0.0, 1.0)
    return EnergyCurve(HOP_S, tuple(values.tolist()))


def _energy(samples: Samples) -> float:
    exact = samples.astype(np.float64)
    return float(exact @ exact)
