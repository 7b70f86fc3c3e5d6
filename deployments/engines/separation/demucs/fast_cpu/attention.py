"""Attention that never holds all scores at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Scores of this many queries at a time stay in the processor's caches.
_QUERIES = 448


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """[batch, positions, channels] each, keys and values with positions of their own; the result as `queries`."""
    batch, positions, channels = queries.shape
    queries, keys, values = (
        each.view(batch, -1, heads, channels // heads).transpose(1, 2) for each in (queries, keys, values)
    )
    if queries.dtype is torch.float32:
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        return attended.transpose(1, 2).reshape(batch, positions, channels)
    # torch's own kernel for bfloat16 is slower on a CPU than the one for float32.
    attended = queries.new_empty((batch, positions, heads, channels // heads))
    for row in range(batch):
        for head in range(heads):
            key, value = keys[row, head].t().contiguous(), values[row, head].contiguous()
            scaled = queries[row, head] * (channels // heads) ** -0.5
            for start in range(0, positions, _QUERIES):
                scores = torch.softmax(scaled[start : start + _QUERIES] @ key, -1)
                attended[row, start : start + _QUERIES, head] = scores @ value
    return attended.view(batch, positions, channels)
