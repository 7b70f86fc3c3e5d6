"""The residual branch of a layer: dilated convolutions over time, each frequency for itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deployments.engines.separation.demucs.fast_cpu.norms import norm_of_rows
from deployments.engines.separation.demucs.fast_cpu.products import Conv, Linear

# A gated linear unit over fewer channels spends its time between the vectors.
_WIDE_GATE_CHANNELS = 192
_MOST_TIMES_AT_ONCE = 8


class Residual:
    """`demucs.demucs.DConv` of `is_plain_residual`, on [batch, frequencies, times, channels].

    Always in float32: its products are so small that bfloat16 saves next to nothing, and would cost half of the
    network's precision.
    """

    def __init__(self, dconv: Any, *, frequencies: int, times: int) -> None:
        self._layers = [_ResidualLayer(layer, frequencies, times) for layer in dconv.layers]

    def __call__(self, x: Tensor) -> Tensor:
        """May change `x`."""
        y = x.float()
        for layer in self._layers:
            y = y.add_(layer(y))
        return y.to(x.dtype)


class _ResidualLayer:
    def __init__(self, layer: Any, frequencies: int, times: int) -> None:
        narrow, narrow_norm, _, wide, wide_norm, _, scale = layer
        self._narrow = Conv(
            narrow.weight[:, :, None],
            narrow.bias,
            torch.float32,
            padding=(0, narrow.padding[0]),
            dilation=(1, narrow.dilation[0]),
        )
        self._narrow_norm = norm_of_rows(
            narrow_norm.weight, narrow_norm.bias, narrow_norm.eps, frequencies=frequencies, times=times
        )
        outputs, inputs, _ = wide.weight.shape
        self._at_once = at_once = _times_at_once(times, outputs // 2)
        # For some times at once, which makes the gates that much wider: first all values, then all gates.
        halves = wide.weight.view(2, 1, outputs // 2, 1, inputs)
        apart = torch.eye(at_once).view(1, at_once, 1, at_once, 1)

        def repeated(vector: Tensor) -> Tensor:
            return vector.view(2, 1, -1).expand(2, at_once, -1).reshape(-1)

        self._wide = Linear(
            (halves * apart).reshape(at_once * outputs, at_once * inputs),
            repeated(wide.bias),
            torch.float32,
            frequencies * times // at_once,
        )
        # The scale is part of the norm of the values that the gates let through.
        scales = torch.cat([scale.scale, torch.ones_like(scale.scale)])
        self._wide_norm = norm_of_rows(
            repeated(wide_norm.weight * scales),
            repeated(wide_norm.bias * scales),
            wide_norm.eps,
            frequencies=frequencies,
            times=times // at_once,
        )

    def __call__(self, x: Tensor) -> Tensor:
        y = functional.gelu(self._narrow_norm(self._narrow(x)))
        batch, frequencies, times, channels = y.shape
        y = y.reshape(batch, frequencies, times // self._at_once, self._at_once * channels)
        return functional.glu(self._wide_norm(self._wide(y)), -1).view(x.shape)


def _times_at_once(times: int, channels: int) -> int:
    """How many times at once make a gate wide enough, of those that divide `times`."""
    wanted = -(-_WIDE_GATE_CHANNELS // channels)
    divisors = [count for count in range(1, min(times, _MOST_TIMES_AT_ONCE) + 1) if times % count == 0]
    return min(divisors, key=lambda count: (abs(count - wanted), count))


def is_plain_residual(dconv: Any) -> bool:
    """Whether `Residual` does what the branch does: neither attention nor LSTM, and norms of one group."""
    from demucs.transformer import LayerScale

    nn = torch.nn
    kinds = [nn.Conv1d, nn.GroupNorm, nn.GELU, nn.Conv1d, nn.GroupNorm, nn.GLU, LayerScale]
    return all(
        [type(module) for module in layer] == kinds and layer[1].num_groups == layer[4].num_groups == 1
        for layer in dconv.layers
    )
