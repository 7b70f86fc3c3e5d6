"""A take's tokens in the order in which the model makes them: audiocraft's delay pattern.

Column 0 is special tokens only; codebook k of frame t stands in column 1 + t + delays[k]. What comes before a
codebook's first frame or after its last is the special token, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deployments.engines.common.errors import ModelUnavailable

UNKNOWN = -1


def pattern_delays(lm: Any) -> tuple[int, ...]:
    """The delay of each codebook. Raises ModelUnavailable if the model's pattern is of another kind."""
    provider = lm.pattern_provider
    delays = tuple(int(delay) for delay in getattr(provider, "delays", ()))
    if not delays or provider.flatten_first or provider.empty_initial:
        raise ModelUnavailable(
            f"the pattern {type(provider).__name__} is none that Segue's engine knows; use the engine audiocraft"
        )
    return delays


class TokenSequence:
    """The columns of one window, int64 [codebooks, 1 + frames + longest delay].

    Columns up to `first` are known from the prompt alone; the model makes the others one by one.
    """

    def __init__(self, prompt: Tensor, frames: int, delays: Sequence[int], special: int) -> None:
        """prompt: int64 [codebooks, n < frames]"""
        codebooks, known = prompt.shape
        self._delays = tuple(delays)
        self.columns = torch.full(
            (codebooks, 1 + frames + max(delays)), special, dtype=torch.int64, device=prompt.device
        )
        for codebook, delay in enumerate(delays):
            self.columns[codebook, 1 + delay : 1 + delay + frames] = UNKNOWN
            self.columns[codebook, 1 + delay : 1 + delay + known] = prompt[codebook]
        self.frames = frames
        self.next = known + 1

    @property
    def prompt_columns(self) -> Tensor:
        """What the model takes in before it makes the first new column: int64 [codebooks, known + 1]."""
        return self.columns[:, : self.next]

    @property
    def is_complete(self) -> bool:
        return self.next == self.columns.shape[1]

    @property
    def complete_frames(self) -> int:
        """How many frames have all their codebooks."""
        return max(0, self.next - 1 - max(self._delays))

    def append(self, drawn: Tensor) -> Tensor:
        """Enter the tokens drawn for the next column, where they are wanted; the column as it is then.

        drawn: int64 [codebooks] -> int64 [codebooks]
        """
        column = self.columns[:, self.next]
        column.copy_(torch.where(column == UNKNOWN, drawn, column))
        self.next += 1
        return column

    def codes(self, start: int, end: int) -> Tensor:
        """Frames start..end, which must be complete, in the codec's order: int64 [codebooks, end - start]."""
        return torch.stack(
            [
                self.columns[codebook, 1 + delay + start : 1 + delay + end]
                for codebook, delay in enumerate(self._delays)
            ]
        )
