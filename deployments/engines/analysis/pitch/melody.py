"""Who follows a melody, and how a track of likely pitches becomes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from deployments.engines.analysis.analysis import Melody
from deployments.engines.analysis.clip import Clip

HOP_S = 0.01
LONGEST_S = 60.0
"""Of a clip, so much is listened to: following a melody takes longer than all the rest."""

_Values = npt.NDArray[np.float32]
_Numbers = npt.NDArray[np.int64]


class PitchTracker(Protocol):
    @property
    def method(self) -> str: ...

    @property
    def weights_sha256(self) -> str: ...

    def follow(self, clip: Clip, *, is_given_up: Callable[[], bool]) -> Melody | None:
        """Blocks. None if the clip was given up meanwhile, which is asked for every few seconds of it."""
        ...


def likeliest_path(scores: _Values, steps: _Values, leap: float) -> _Numbers:
    """The places, int64 [frames], whose scores and changes add up to the most (Viterbi's algorithm).

    `scores` is float32 [frames, places], logarithms. `steps`, [2 * reach + 1], is the logarithm of how likely
    a change by -reach .. reach places is, and `leap` that of one to anywhere.
    """
    frames, places = scores.shape
    reach = len(steps) // 2
    if not frames:
        return np.zeros(0, np.int64)
    best = scores[0].copy()
    came_from = np.zeros((frames, places), np.int16)
    around = np.full(places + 2 * reach, -np.inf, np.float32)
    windows = sliding_window_view(around, 2 * reach + 1)
    backwards = np.ascontiguousarray(steps[::-1])
    here = np.arange(places)
    for frame in range(1, frames):
        around[reach : reach + places] = best
        ways = windows + backwards
        step = ways.argmax(axis=1)
        gained = ways[here, step]
        top = int(best.argmax())
        leaps = gained < best[top] + leap
        came_from[frame] = np.where(leaps, top, here + step - reach)
        best = np.where(leaps, best[top] + leap, gained) + scores[frame]
        best -= best.max()
    path = np.zeros(frames, np.int64)
    path[-1] = int(best.argmax())
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path
