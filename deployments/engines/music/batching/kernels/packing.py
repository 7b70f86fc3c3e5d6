"""Weights in panels: [outputs / 64, inputs, 64], so that a step reads memory from its beginning to its end.

oneDNN packs float32 weights on many processors in the very same order, and bfloat16 in [outputs / 32 or 64,
inputs / 2, 32 or 64, 2]. Where it does, prefill's products (oneDNN) and the step's (kernels) read the same memory.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PANEL = 64


@dataclass(frozen=True, slots=True)
class Panels:
    """`data`: what holds the memory; `width` outputs each."""

    data: NDArray[Any]
    width: int
    inputs: int
    outputs: int
    owner: object = None

    @property
    def panel_bytes(self) -> int:
        return self.inputs * self.width * self.data.itemsize


def pack(weight: Tensor, width: int = PANEL) -> Panels:
    """weight: float32, bfloat16 or int8 [outputs, inputs], of an even number of inputs in bfloat16."""
    outputs, inputs = weight.shape
    panels = -(-outputs // width)
    padded = torch.nn.functional.pad(weight, (0, 0, 0, panels * width - outputs))
    if weight.dtype is torch.bfloat16:
        pairs = padded.view(torch.int16).view(panels, width, inputs // 2, 2).permute(0, 2, 1, 3)
        data = pairs.contiguous().numpy()
    else:
        data = padded.view(panels, width, inputs).permute(0, 2, 1).contiguous().numpy()
    return Panels(data, width, inputs, outputs)


def shared_with_onednn(packed: Tensor, weight: Tensor) -> Panels | None:
    """The memory of a weight that oneDNN has packed, if it is in panels; None if it is not."""
    outputs, inputs = weight.shape
    size = weight.numel() * weight.element_size()
    if int(torch.ops.mkldnn._nbytes(packed)) != size:
        return None
    address = int(torch.ops.mkldnn.data_ptr(packed))
    there = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
    for width in (64, 32) if weight.dtype is torch.bfloat16 else (64,):
        if outputs % width == 0:
            expected = pack(weight, width)
            if np.array_equal(there, expected.data.reshape(-1).view(np.uint8)):
                shape = expected.data.shape
                return Panels(there.view(expected.data.dtype).reshape(shape), width, inputs, outputs, packed)
    return None
