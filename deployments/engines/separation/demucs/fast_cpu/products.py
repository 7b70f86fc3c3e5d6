"""Matrix products and convolutions of oneDNN's, with weights laid out once and activations as part of them.

Tensors are [batch, frequencies, times, channels], the time branch with one frequency: then 1x1 convolutions are
matrix products, and every convolution is one on channels-last memory. `dtype` is what products are computed from;
sums inside a product are float32.
"""

from __future__ import annotations

import torch
from torch import Tensor


def has_products(dtype: torch.dtype) -> bool:
    """Whether this torch, on this processor, has the products of a dtype."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype is torch.float32


class Linear:
    """y = x W^T + b over the last dimension."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, rows: int) -> None:
        """`weight` is [outputs, inputs]; `rows` is how many are expected."""
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous(), rows)
        self._bias = bias.detach().to(dtype)

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        """`activation` is `none`, `gelu` or `sigmoid`."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, activation, [], _algorithm(activation)
        )
        return y

    def with_other(self, x: Tensor, other: Tensor, operation: str) -> Tensor:
        """The product and `other` put together by `add` or `mul`, as a new tensor."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._weight, self._bias, operation)
        return y


class Conv:
    """A convolution over frequencies and times."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        dtype: torch.dtype,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
    ) -> None:
        """`weight` is [outputs, inputs, frequencies, times]."""
        self._geometry = (list(padding), list(stride), list(dilation), 1)
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight.detach().to(dtype).contiguous(), *self._geometry, None
        )
        self._bias = bias.detach().to(dtype)

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        """`activation` is `none`, `gelu` or `sigmoid`."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x.permute(0, 3, 1, 2),
            self._weight,
            self._bias,
            *self._geometry,
            activation,
            [],
            _algorithm(activation),
        )
        return y.permute(0, 2, 3, 1)


class GatedLinear:
    """A 1x1 convolution and the gated linear unit over its channels."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, rows: int) -> None:
        """`weight` is [2 * outputs, inputs]."""
        values, gates = weight.chunk(2)
        values_bias, gates_bias = bias.chunk(2)
        self._values = Linear(values, values_bias, dtype, rows)
        self._gates = Linear(gates, gates_bias, dtype, rows)

    def __call__(self, x: Tensor) -> Tensor:
        return self._values.with_other(x, self._gates(x, "sigmoid"), "mul")


class GatedConv:
    """A convolution that keeps the size, and the gated linear unit over its channels."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        """`weight` is [2 * outputs, inputs, frequencies, times], the last two odd."""
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        values, gates = weight.chunk(2)
        values_bias, gates_bias = bias.chunk(2)
        self._values = Conv(values, values_bias, dtype, padding=padding)
        self._gates = Conv(gates, gates_bias, dtype, padding=padding)

    def __call__(self, x: Tensor) -> Tensor:
        return self._values(x).mul_(self._gates(x, "sigmoid"))


def _algorithm(activation: str) -> str:
    """`none` is the exact GELU, as opposed to `tanh`; the others have but one."""
    return "none" if activation == "gelu" else ""
