"""Philox 4x32-10, a counter-based random generator: the value at a counter needs no value before it.

Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). Integers only, so every
device and every batch gives the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MASK = 0xFFFFFFFF

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: tuple[int | Tensor, int | Tensor]) -> Words:
    """Four 32-bit words for each counter of four 32-bit words, all int64 tensors of one shape (or shapes that
    broadcast) with values in 0..2^32-1; the key likewise, or numbers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _multiply(x: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """High and low half of a 64-bit product. It may wrap to a negative int64; its bits are the same."""
    product = x * by
    return (product >> 32) & _MASK, product & _MASK


def gumbel(seed: int, first_step: int, steps: int, codebooks: int, card: int, device: torch.device) -> Tensor:
    """Standard Gumbel noise, float32 [steps, codebooks, card], for the draws of a take.

    The value for (seed, step, codebook, token) is always the same, however the steps are asked for.
    `seed` is 0..2^32-1.
    """
    step = torch.arange(first_step, first_step + steps, device=device)
    return gumbel_at(torch.full_like(step, seed), step, codebooks, card)


def gumbel_at(seed: Tensor, step: Tensor, codebooks: int, card: int) -> Tensor:
    """The same for seeds and steps of their own, int64 [n] both: float32 [n, codebooks, card]."""
    device = step.device
    codebook = torch.arange(codebooks, device=device)[None, :, None]
    block = torch.arange(-(-card // 4), device=device)[None, None, :]
    zero = torch.zeros((1, 1, 1), dtype=torch.int64, device=device)
    words = philox((block, codebook, step[:, None, None], zero), (seed[:, None, None], 0))
    shape = (len(step), codebooks, block.shape[-1])
    bits = torch.stack([word.expand(shape) for word in words], dim=-1).reshape(len(step), codebooks, -1)[
        ..., :card
    ]
    # 23 bits and a half: neither 0 nor 1 in float32, so both logarithms are finite.
    uniform = ((bits >> 9).to(torch.float32) + 0.5) * 2.0**-23
    return -torch.log(-torch.log(uniform))
