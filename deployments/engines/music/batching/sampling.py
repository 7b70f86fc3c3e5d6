"""Choosing tokens: guidance, temperature, top-k or top-p, and one Gumbel-max draw, each row its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.engines.music.protocol import Sampling


@dataclass(frozen=True, slots=True)
class SamplingRows:
    """The settings of a batch, made again only when its takes change. Tensors are [takes, 1, 1]."""

    temperature: Tensor
    noise_scale: Tensor
    top_k: Tensor
    top_p: Tensor
    widest_k: int
    by_k: bool
    by_p: bool

    @classmethod
    def of(cls, takes: Sequence[Sampling], card: int, device: torch.device) -> SamplingRows:
        # As audiocraft: temperature 0 is greedy, and top_p, where it is set, takes the place of top_k.
        greedy = [take.temperature == 0.0 for take in takes]
        by_p = [take.top_p > 0.0 and not is_greedy for take, is_greedy in zip(takes, greedy, strict=True)]
        top_k = [
            card if is_p or take.top_k == 0 else min(take.top_k, card)
            for take, is_p in zip(takes, by_p, strict=True)
        ]

        def column(values: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None, None]

        return cls(
            temperature=column([1.0 if g else t.temperature for t, g in zip(takes, greedy, strict=True)]),
            noise_scale=column([0.0 if is_greedy else 1.0 for is_greedy in greedy]),
            top_k=column(top_k, torch.int64),
            top_p=column([take.top_p if is_p else 2.0 for take, is_p in zip(takes, by_p, strict=True)]),
            widest_k=max((k for k in top_k if k < card), default=0),
            by_k=any(k < card for k in top_k),
            by_p=any(by_p),
        )


def choose(logits: Tensor, noise: Tensor, rows: SamplingRows) -> Tensor:
    """Draw from softmax(logits / temperature), cut to top-k or top-p.

    logits: float32 [takes, codebooks, card]; noise: standard Gumbel, of the same shape
    -> int64 [takes, codebooks]
    """
    card = logits.shape[-1]
    scaled = logits / rows.temperature
    score = scaled + noise * rows.noise_scale
    if rows.by_k:
        best = scaled.topk(rows.widest_k, dim=-1).values
        index = (rows.top_k.clamp(max=rows.widest_k) - 1).expand(-1, logits.shape[1], -1)
        outside = (scaled < best.gather(-1, index)) & (rows.top_k < card)
        score = score.masked_fill(outside, -torch.inf)
    if rows.by_p:
        ordered, order = torch.softmax(scaled, dim=-1).sort(dim=-1, descending=True)
        # A token is out when those before it have more than top_p already; the first never is.
        late = ordered.cumsum(dim=-1) - ordered > rows.top_p
        outside = torch.zeros_like(late).scatter(-1, order, late)
        score = score.masked_fill(outside, -torch.inf)
    return score.argmax(dim=-1)
