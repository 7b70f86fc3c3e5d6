"""Matrix products with weights that were laid out once, in the way that is fastest on the device.

A product's rows must not depend on which other rows come with it: else a take would depend on its batch
mates. Kernels promise nothing there, so `steady_rows` looks, on the machine at hand, from how many rows on
each row's bits stay the same, and a `Linear` pads to that number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.batching import kernels
from deployments.engines.music.batching.kernels.packing import Panels, pack, shared_with_onednn


class Precision(StrEnum):
    """The number format of the weights. What is added up between the products stays float32 on a CPU."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"

    @property
    def dtype(self) -> torch.dtype:
        """Of the products' inputs and results."""
        return torch.bfloat16 if self is Precision.INT8 else getattr(torch, self.value)


class Linear(Protocol):
    """y = x W^T + b, with x [rows, inputs] of any float format and y [rows, outputs] of x's format.

    Fewer rows than `rows_at_least` are computed with zeros below them.
    """

    in_features: int
    out_features: int
    rows_at_least: int

    def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor: ...

    def panels(self) -> PanelWeights:
        """The same weights for the kernels of a step, on a CPU."""
        ...


@dataclass(frozen=True, slots=True)
class PanelWeights:
    """`bias` and `scale`: float32 [outputs]; the product's outputs are scaled before the bias is added."""

    panels: Panels
    bias: Tensor | None
    scale: Tensor | None = None


def _padded(x: Tensor, rows: int) -> Tensor:
    return x if x.shape[0] >= rows else functional.pad(x, (0, 0, 0, rows - x.shape[0]))


class PlainLinear:
    """torch's own product: what a GPU is best at, and on a CPU the quickest to call."""

    def __init__(self, weight: Tensor, bias: Tensor | None, precision: Precision) -> None:
        if precision is Precision.INT8:
            raise ModelUnavailable("int8 weights are for CPUs; use bfloat16 or float16 on a GPU")
        self.out_features, self.in_features = weight.shape
        self.rows_at_least = 1
        self._weight = weight.detach().to(precision.dtype).contiguous()
        self._bias = None if bias is None else bias.detach().to(precision.dtype)

    def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        y = functional.linear(_padded(x, self.rows_at_least).to(self._weight.dtype), self._weight, self._bias)
        y = y[: x.shape[0]].to(x.dtype)
        return functional.gelu(y) if gelu else y

    def panels(self) -> PanelWeights:
        return PanelWeights(pack(self._weight), _as_float32(self._bias))


class PackedLinear:
    """oneDNN's product with its weights prepacked; reads them at the memory's speed where torch's own reads
    them at a quarter of it (2 to 32 rows)."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, precision: Precision, rows_hint: int, *, has_kernels: bool
    ) -> None:
        self.out_features, self.in_features = weight.shape
        self.rows_at_least = 1
        self._dtype = precision.dtype
        plain = weight.detach().to(self._dtype).contiguous()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(plain, rows_hint)
        self._panels = shared_with_onednn(self._weight, plain) if has_kernels else None
        if has_kernels and self._panels is None:
            self._panels = pack(plain)
        self._bias = None if bias is None else bias.detach().to(self._dtype)

    def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            _padded(x, self.rows_at_least).to(self._dtype),
            self._weight,
            self._bias,
            "gelu" if gelu else "none",
            [],
            "none" if gelu else "",
        )
        return y[: x.shape[0]].to(x.dtype)

    def panels(self) -> PanelWeights:
        if self._panels is None:
            raise RuntimeError("these weights were packed for a machine without kernels")
        return PanelWeights(self._panels, _as_float32(self._bias))


class Int8Linear:
    """Weights in 8 bits with a scale per output; half of bfloat16's bytes, for one take at a time."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.out_features, self.in_features = weight.shape
        self.rows_at_least = 1
        scale = weight.detach().float().abs().amax(dim=1).clamp(min=1e-8) / 127
        self._weight = (weight.detach().float() / scale[:, None]).round().to(torch.int8)
        self._scale = scale
        self._bias = None if bias is None else bias.detach().float()

    def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        rows = _padded(x, self.rows_at_least).to(torch.bfloat16)
        if len(rows) < _MANY_ROWS:
            y = torch._weight_int8pack_mm(rows, self._weight, self._scale.to(torch.bfloat16))
            y = y[: x.shape[0]].to(x.dtype)
        else:
            # Every int8 is a bfloat16: a whole stretch goes through the processor's own product for those.
            product = functional.linear(rows, self._weight.to(torch.bfloat16))
            y = (product.float() * self._scale)[: x.shape[0]].to(x.dtype)
        if self._bias is not None:
            y = y + self._bias
        return functional.gelu(y) if gelu else y

    def panels(self) -> PanelWeights:
        return PanelWeights(pack(self._weight), self._bias, self._scale)


def _as_float32(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.float()


# From here on, turning int8 weights into bfloat16 costs less than a slower product does.
_MANY_ROWS = 64

# Below this, a weight stays in the processor's own cache, and what counts is the cost of the call.
_SMALL_WEIGHT_BYTES = 256 * 1024

MakeLinear = Callable[[Tensor, Tensor | None], Linear]


def linear_maker(
    device: torch.device, precision: Precision, rows_hint: int = 2, *, has_kernels: bool | None = None
) -> MakeLinear:
    """The backend that measured best for a device and precision. `has_kernels`: whether a step has kernels of its
    own on these weights; None for where it can. Raises ModelUnavailable."""
    if has_kernels is None:
        has_kernels = device.type == "cpu" and kernels.is_available()

    def make(weight: Tensor, bias: Tensor | None) -> Linear:
        if precision is Precision.INT8 and device.type == "cpu":
            return Int8Linear(weight, bias)
        is_small = weight.numel() * precision.dtype.itemsize <= _SMALL_WEIGHT_BYTES
        has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if device.type != "cpu" or is_small or not has_onednn:
            return PlainLinear(weight, bias, precision)
        return PackedLinear(weight, bias, precision, rows_hint, has_kernels=has_kernels)

    return make


def steady_rows(linear: Linear, most: int) -> int:
    """The smallest number of rows from which on, up to `most`, a row's bits are always the same: alone in
    zeros, among others, in any place. `most` if they never settle."""
    x = torch.randn(most, linear.in_features, generator=torch.Generator().manual_seed(0))
    whole = linear(x)
    steady = most
    for rows in range(most - 1, 0, -1):
        shift = most - rows
        if not torch.equal(linear(x[:rows]), whole[:rows]) or not torch.equal(
            linear(x[shift:]), whole[shift:]
        ):
            break
        steady = rows
    return steady


def settle(linears: Iterable[Linear], most: int) -> int:
    """Give linears on a CPU the padding that makes their rows independent; the largest that was needed.

    One of each shape is tried: the kernel is chosen by shape.
    """
    found: dict[tuple[int, int], int] = {}
    for linear in linears:
        shape = (linear.in_features, linear.out_features)
        if shape not in found:
            found[shape] = steady_rows(linear, most)
        linear.rows_at_least = found[shape]
    return max(found.values(), default=1)


_LARGE_PIECE_ROWS = 512
_FEW_ROWS = (1, 2, 4, 8, 16, 32)


def settle_pieces(linears: Iterable[Linear]) -> bool:
    """Whether every product gives a row the same bits in a small piece of a prompt as in a large one, on the
    machine at hand, once the smallest pieces are padded as this function sets it.

    True of float32 where sums run over the inputs in one order; not of bfloat16 in matrix units.
    """
    found: dict[tuple[int, int], int | None] = {}
    for linear in linears:
        shape = (linear.in_features, linear.out_features)
        if shape not in found:
            found[shape] = _alike_from(linear)
        linear.rows_at_least = found[shape] or 1
    return None not in found.values()


def _alike_from(linear: Linear) -> int | None:
    x = torch.randn(_LARGE_PIECE_ROWS, linear.in_features, generator=torch.Generator().manual_seed(0))
    whole = linear(x)

    def is_alike(rows: int) -> bool:
        return torch.equal(linear(x[:rows]), whole[:rows]) and torch.equal(linear(x[-rows:]), whole[-rows:])

    if not all(is_alike(rows) for rows in (64, 66, 106, 128, 256)):
        return None
    least = _FEW_ROWS[-1] * 2
    for rows in reversed(_FEW_ROWS):
        if not is_alike(rows):
            break
        least = rows
    return least
