"""What the machine could do: how fast it reads memory, and how fast it multiplies matrices."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
from torch.nn import functional

from benchmarks.kit.turns import timed
from deployments.engines.music.batching.linear import Precision, linear_maker

READ_BYTES = 2**29
"""Many times what a processor's caches hold."""
_READ_WIDTH = 8192
_TIMES = 3
_ROWS, _INPUTS, _OUTPUTS = 1024, 1024, 4096


def read_probe(device: torch.device) -> Callable[[], float]:
    """Bytes per second at which torch's threads read memory: the best of three kernels that do little else, over
    all of a large tensor."""
    memory = torch.ones(READ_BYTES // 4, device=device)
    product = linear_maker(device, Precision.FLOAT32)(memory.view(-1, _READ_WIDTH), None)
    x = torch.ones((2, _READ_WIDTH), device=device)
    return _best(READ_BYTES, device, memory.sum, lambda: torch.dot(memory, memory), lambda: product(x))


def product_probe(device: torch.device, precision: Precision) -> Callable[[], float]:
    """Floating-point operations per second in products of large matrices: the better of torch's own and the
    decoder's."""
    x = torch.randn((_ROWS, _INPUTS), device=device, dtype=precision.dtype)
    weight = torch.randn((_OUTPUTS, _INPUTS), device=device, dtype=precision.dtype)
    packed = linear_maker(device, precision, rows_hint=_ROWS)(weight, None)
    flops = 2 * _ROWS * _INPUTS * _OUTPUTS
    return _best(flops, device, lambda: functional.linear(x, weight), lambda: packed(x))


def _best(amount: int, device: torch.device, *kernels: Callable[[], object]) -> Callable[[], float]:
    """A probe for the amount per second of the best kernel, each the median of a few."""

    def probe() -> float:
        return amount / min(median(timed(kernel, device) for _ in range(_TIMES)) for kernel in kernels)

    return probe
