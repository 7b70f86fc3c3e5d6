"""The layers of an HTDemucs' encoders and decoders, in either branch, on [batch, frequencies, times, channels]."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deployments.engines.separation.demucs.fast_cpu.products import Conv, GatedConv, GatedLinear
from deployments.engines.separation.demucs.fast_cpu.residual import Residual, is_plain_residual


class Encoder:
    """`demucs.hdemucs.HEncLayer` of `is_quick_encoder`."""

    def __init__(self, layer: Any, dtype: torch.dtype, *, frequencies: int, times: int) -> None:
        """`frequencies` and `times` are what comes out."""
        self._is_time = not layer.freq
        self._stride = layer.stride
        stride, padding = (layer.stride, 1), (layer.pad, 0)
        weight = layer.conv.weight
        if self._is_time:
            weight, stride, padding = weight[:, :, None], stride[::-1], padding[::-1]
        self._conv = Conv(weight, layer.conv.bias, dtype, stride=stride, padding=padding)
        self._residual = (
            None if layer.dconv is None else Residual(layer.dconv, frequencies=frequencies, times=times)
        )
        self._rewrite = GatedLinear(
            layer.rewrite.weight.flatten(1), layer.rewrite.bias, dtype, frequencies * times
        )

    def __call__(self, x: Tensor) -> Tensor:
        beyond = x.shape[2] % self._stride
        if self._is_time and beyond:
            x = functional.pad(x, (0, 0, 0, self._stride - beyond))
        y = self._conv(x, "gelu")
        if self._residual is not None:
            y = self._residual(y)
        return self._rewrite(y)


class Decoder:
    """`demucs.hdemucs.HDecLayer` of `is_quick_decoder`."""

    def __init__(self, layer: Any, dtype: torch.dtype, *, frequencies: int, times: int) -> None:
        """`frequencies` and `times` are what goes in."""
        rewrite = layer.rewrite.weight
        self._rewrite = GatedConv(rewrite if layer.freq else rewrite[:, :, None], layer.rewrite.bias, dtype)
        self._residual = (
            None if layer.dconv is None else Residual(layer.dconv, frequencies=frequencies, times=times)
        )
        kind = _FrequencyUpsampler if layer.freq else _TimeUpsampler
        self._upsampler = kind(layer.conv_tr, dtype, layer.stride, layer.pad, is_last=layer.last)

    def __call__(self, x: Tensor, skip: Tensor, samples: int) -> Tensor:
        """Changes `x`. `samples` is how many the time branch is to have."""
        y = self._rewrite(x.add_(skip))
        if self._residual is not None:
            y = self._residual(y)
        return self._upsampler(y, samples)


class _TimeUpsampler:
    """A transposed convolution over time whose kernel is twice its stride: a convolution over pairs of samples,
    whose outputs lie in memory as the samples that they are."""

    def __init__(
        self, transposed: Any, dtype: torch.dtype, stride: int, cropped: int, *, is_last: bool
    ) -> None:
        """`cropped` samples are left out at the beginning. A GELU follows unless `is_last`."""
        earlier, later = transposed.weight[..., stride:], transposed.weight[..., :stride]
        pairs = torch.stack([earlier, later], dim=-1).permute(2, 1, 0, 3).flatten(0, 1)
        self._pairs = Conv(pairs[:, :, None], transposed.bias.repeat(stride), dtype, padding=(0, 1))
        self._outputs = transposed.weight.shape[1]
        self._cropped = cropped
        self._activation = "none" if is_last else "gelu"

    def __call__(self, x: Tensor, samples: int) -> Tensor:
        y = self._pairs(x, self._activation)
        y = y.reshape(y.shape[0], 1, -1, self._outputs)
        return y[:, :, self._cropped : self._cropped + samples]


class _FrequencyUpsampler:
    """A transposed convolution over frequencies, without `cropped` at either end."""

    def __init__(
        self, transposed: Any, dtype: torch.dtype, stride: int, cropped: int, *, is_last: bool
    ) -> None:
        """A GELU follows unless `is_last`."""
        # A copy: the one thing that no product lays out anew.
        weight = transposed.weight.detach().to(dtype, copy=True)
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = transposed.bias.detach().to(dtype)
        self._stride, self._cropped, self._is_last = stride, cropped, is_last

    def __call__(self, x: Tensor, _: int) -> Tensor:
        y = functional.conv_transpose2d(
            x.permute(0, 3, 1, 2), self._weight, self._bias, (self._stride, 1), (self._cropped, 0)
        )
        y = y.permute(0, 2, 3, 1).contiguous()
        return y if self._is_last else functional.gelu(y)


def is_quick_encoder(layer: Any) -> bool:
    """Whether `Encoder` does what the layer does."""
    from demucs.hdemucs import HEncLayer

    return type(layer) is HEncLayer and _is_plain(layer) and set(layer.rewrite.kernel_size) == {1}


def is_quick_decoder(layer: Any) -> bool:
    """Whether `Decoder` does what the layer does."""
    from demucs.hdemucs import HDecLayer

    return (
        type(layer) is HDecLayer
        and _is_plain(layer)
        and all(size == 2 * pad + 1 for size, pad in _sizes_and_pads(layer.rewrite))
    )


def _is_plain(layer: Any) -> bool:
    """Without norms, and with strides that divide whatever comes."""
    return (
        not layer.norm
        and not layer.empty
        and layer.rewrite is not None
        and layer.stride % 2 == 0
        and layer.kernel_size == 2 * layer.stride == 4 * layer.pad
        and (layer.dconv is None or is_plain_residual(layer.dconv))
    )


def _sizes_and_pads(conv: Any) -> zip[tuple[int, int]]:
    return zip(conv.kernel_size, conv.padding, strict=True)
