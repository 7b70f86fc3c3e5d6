"""Running medians of width 31 along the first axis, for many columns at once.

31 values are not sorted for each median: sixteen neighbouring windows share sixteen values, which are sorted once;
each half of the windows shares eight more, each quarter four more, and so on. With every step only those values are
kept that can still be a median. That is a network of minimum and maximum (about 22 of them for a median), which
numpy does for whole rows at once, without a branch. (After A. Adams, "Fast Median Filters using Separable Sorting
Networks", 2021, for one dimension.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

REACH = 15
"""So many rows before and after its own make a median."""

WIDTH = 2 * REACH + 1
_WINDOWS = REACH + 1

Values = npt.NDArray[np.float32]
_Runs = dict[int, list[list[Values]]]


def running_medians(rows: Values) -> Values:
    """float32 [n + 30, columns] -> [n, columns]: row i is the median of rows i to i + 30, for each column.

    No NaN may be in it.
    """
    count = rows.shape[0] - 2 * REACH
    groups = -(-count // _WINDOWS)
    runs = _sorted_runs(_interleaved(rows, groups + 2))
    medians = np.empty((groups, _WINDOWS, rows.shape[1]), np.float32)
    _split([row[1:-1] for row in runs[_WINDOWS][0]], medians, 0, runs)
    return medians.reshape(groups * _WINDOWS, rows.shape[1])[:count]


def _split(kept: Sequence[Values], medians: Values, first: int, runs: _Runs) -> None:
    """Fill `medians`, [groups, windows, columns], of windows of which the first is number `first` of its group.

    `kept` are in order the values that can be a median, as far as the values tell that all these windows share:
    as many as there are windows.
    """
    groups, windows, _ = medians.shape
    if windows == 1:
        medians[:, 0] = kept[0]
        return
    half = windows // 2
    before = [row[:groups] for row in runs[half][first // half + 1]]
    after = [row[2:] for row in runs[half][first // half]]
    _split(_middle(kept, before), medians[:, :half], first, runs)
    _split(_middle(kept, after), medians[:, half:], first + half, runs)


def _interleaved(rows: Values, blocks: int) -> Values:
    """[16, blocks, columns]: at [p, b] is row 16 b + p - 1, so that what sixteen windows share is one block."""
    laid = np.zeros((_WINDOWS, blocks, rows.shape[1]), np.float32)
    for phase in range(_WINDOWS):
        skipped = 1 if phase == 0 else 0
        own = rows[(phase - 1) % _WINDOWS :: _WINDOWS]
        laid[phase, skipped : skipped + len(own)] = own
    return laid


def _sorted_runs(blocks: Values) -> _Runs:
    """By length (1, 2, 4, 8, 16): the runs of so many neighbours in a block, each sorted."""
    runs: _Runs = {1: [[row] for row in blocks]}
    length = 1
    while length < _WINDOWS:
        shorter = runs[length]
        length *= 2
        runs[length] = [_merge(one, other) for one, other in zip(shorter[::2], shorter[1::2], strict=True)]
    return runs


def _merge(one: Sequence[Values], other: Sequence[Values]) -> list[Values]:
    """Two sorted runs of the same length (a power of two) as one: Batcher's odd-even merge."""
    if len(one) == 1:
        return [np.minimum(one[0], other[0]), np.maximum(one[0], other[0])]
    even, odd = _merge(one[::2], other[::2]), _merge(one[1::2], other[1::2])
    merged = [even[0]]
    for low, high in zip(odd[:-1], even[1:], strict=True):
        merged += (np.minimum(low, high), np.maximum(low, high))
    return [*merged, odd[-1]]


def _middle(kept: Sequence[Values], added: Sequence[Values]) -> list[Values]:
    """Of 2 n sorted values and n sorted ones the n in the middle, sorted, without the n least and n greatest."""
    half = len(added)
    without_least = [np.maximum(low, new) for low, new in zip(kept[:half], reversed(added), strict=True)]
    return _sort_bitonic(
        [np.minimum(low, high) for low, high in zip(without_least, kept[half:], strict=True)]
    )


def _sort_bitonic(values: list[Values]) -> list[Values]:
    """Sorted, what first falls and then rises."""
    if len(values) == 1:
        return values
    half = len(values) // 2
    pairs = list(zip(values[:half], values[half:], strict=True))
    lower = _sort_bitonic([np.minimum(one, other) for one, other in pairs])
    return lower + _sort_bitonic([np.maximum(one, other) for one, other in pairs])
