"""Norms over [..., positions, channels] memory, as their own tensors: what they came from may go."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class LayerNorm:
    """`torch.nn.LayerNorm` over the last dimension, or nothing for an `Identity`. float32."""

    def __init__(self, norm: Any) -> None:
        self._affine: tuple[Tensor, Tensor, float] | None = None
        if not isinstance(norm, torch.nn.Identity):
            self._affine = norm.weight.detach(), norm.bias.detach(), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        if self._affine is None:
            return x
        weight, bias, eps = self._affine
        return functional.layer_norm(x, weight.shape, weight, bias, eps)


class WholeNorm:
    """`GroupNorm` with one group, over everything but the batch: [batch, ..., channels] of any size.

    Not by `group_norm` on channels-last memory: it takes the variance as the mean of the squares less the square of
    the mean, which is a thousand times less exact where most of a segment is silence.
    """

    def __init__(self, weight: Tensor, bias: Tensor, eps: float) -> None:
        self._weight, self._bias, self._eps = weight.detach(), bias.detach(), eps

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.flatten(1)
        normed = functional.layer_norm(rows, rows.shape[1:], None, None, self._eps).view(x.shape)
        return torch.addcmul(self._bias, normed, self._weight)


class RowNorm:
    """`GroupNorm` with one group, for each frequency of [batch, frequencies, times, channels]."""

    def __init__(self, weight: Tensor, bias: Tensor, eps: float, times: int) -> None:
        self._weight, self._bias = weight.detach().repeat(times), bias.detach().repeat(times)
        self._eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.flatten(2)
        return functional.layer_norm(rows, rows.shape[2:], self._weight, self._bias, self._eps).view(x.shape)


def norm_of_rows(
    weight: Tensor, bias: Tensor, eps: float, *, frequencies: int, times: int
) -> WholeNorm | RowNorm:
    """What `RowNorm` does, in the least memory."""
    return WholeNorm(weight, bias, eps) if frequencies == 1 else RowNorm(weight, bias, eps, times)
