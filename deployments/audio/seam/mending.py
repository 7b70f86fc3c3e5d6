"""A click between two stretches of a signal: found by its second difference, and interpolated away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples

REACH_S = 0.003
"""So far from the join a click is looked for."""

AROUND_S = 0.08
"""What is usual is learnt from so much on both sides."""

_CLICK = 1.5
"""A second difference is a click's from so many times the 99.9th percentile of its surroundings on."""

_MARGIN_S = 0.0005
_ORDER = 32
_Exact = npt.NDArray[np.float64]


def mend(samples: Samples, at: int, rate_hz: int) -> tuple[Samples, int]:
    """`samples` [channels, samples] with no click near sample `at`, and how many samples were replaced: 0, and the
    same array, where there is none. A click is a few samples whose second difference sticks out of what is usual 80
    ms before and after; a drum's stroke is not, since it goes on. What is replaced is interpolated by the
    autoregressive model of its surroundings (A. Janssen et al., "Adaptive Interpolation of Discrete-Time Signals",
    IEEE ASSP 34, 1986), each channel by itself.
    """
    around, reach = round(AROUND_S * rate_hz), max(2, round(REACH_S * rate_hz))
    start, end = max(0, at - around), min(samples.shape[1], at + around)
    if at - start < around // 4 or end - at < around // 4:
        return samples, 0
    stretch = samples[:, start:end].astype(np.float64)
    seam = at - start
    mended, replaced = stretch.copy(), 0
    for channel in mended:
        replaced = max(replaced, _mend_channel(channel, seam, reach, round(_MARGIN_S * rate_hz)))
    if not replaced:
        return samples, 0
    whole = samples.copy()
    whole[:, start:end] = mended
    return whole, replaced


def _mend_channel(channel: _Exact, seam: int, reach: int, margin: int) -> int:
    """In place; returns how many samples were replaced."""
    bends = np.abs(np.diff(channel, n=2, prepend=[channel[0]] * 2))
    near = slice(max(0, seam - reach), min(len(bends), seam + reach))
    usual = float(np.percentile(np.concatenate([bends[: near.start], bends[near.stop :]]), 99.9))
    sharp = near.start + np.flatnonzero(bends[near] > _CLICK * max(usual, 1e-6))
    if not sharp.size:
        return 0
    # A second difference at k is of samples k-2, k-1 and k.
    first, last = int(sharp[0]) - 1 - margin, int(sharp[-1]) + margin
    order = min(_ORDER, first // 3, (len(channel) - last) // 3)
    if order < 2:
        return 0
    filled = _interpolated(channel, first, last, order)
    after = np.abs(np.diff(filled, n=2, prepend=[filled[0]] * 2))[near]
    if not np.isfinite(filled).all() or after.max() >= bends[near].max():
        return 0
    channel[:] = filled
    return last - first


def _interpolated(channel: _Exact, first: int, last: int, order: int) -> _Exact:
    """The unknown samples [first, last) such that the prediction error around them is the least."""
    known = channel.copy()
    # A straight line first: the model is learnt from a signal without the click.
    known[first:last] = np.linspace(channel[first - 1], channel[last], last - first + 2)[1:-1]
    mean = known.mean()
    known -= mean
    for _ in range(2):
        error = np.concatenate([[1.0], -_prediction(known, order)])
        rows = np.arange(first, last + order)
        taps = rows[:, None] - np.arange(order + 1)[None, :]
        matrix = np.zeros((len(rows), last - first))
        unknown = (taps >= first) & (taps < last)
        row, tap = np.nonzero(unknown)
        matrix[row, taps[row, tap] - first] = error[tap]
        fixed = np.where(unknown, 0.0, known[np.clip(taps, 0, len(known) - 1)]) @ error
        known[first:last] = np.linalg.lstsq(matrix, -fixed, rcond=None)[0]
    filled: _Exact = known + mean
    return filled


def _prediction(signal: _Exact, order: int) -> _Exact:
    """Linear prediction by the autocorrelation method."""
    lags = np.array([float(signal[lag:] @ signal[: len(signal) - lag]) for lag in range(order + 1)])
    lags[0] = lags[0] * (1.0 + 1e-6) + 1e-12
    from scipy.linalg import solve_toeplitz  # as in `phase`

    solved: _Exact = solve_toeplitz(lags[:order], lags[1:])
    return solved
