"""Language models of any shape with random weights, and audiocraft as the reference for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deployments.engines.music.audiocraft.importing import import_audiocraft


@dataclass(frozen=True, slots=True)
class Shape:
    dim: int = 32
    heads: int = 4
    layers: int = 2
    card: int = 32
    delays: tuple[int, ...] = (0, 1, 2, 3)
    prepends: bool = False
    """As the melody models: all conditions come before the tokens; else text by cross-attention."""
    hidden_scale: int = 4


def random_lm(shape: Shape, seed: int = 0, **overrides: Any) -> Any:
    """audiocraft's `LMModel` as MusicGen's configs build it, without conditioners."""
    import_audiocraft()
    from audiocraft.models.lm import LMModel
    from audiocraft.modules.codebooks_patterns import DelayedPatternProvider
    from audiocraft.modules.conditioners import ConditionFuser, ConditioningProvider

    fuse: dict[str, list[str]] = {"sum": [], "input_interpolate": [], "prepend": [], "cross": []}
    fuse["prepend" if shape.prepends else "cross"] = ["description"]
    settings = {
        "n_q": len(shape.delays),
        "card": shape.card,
        "dim": shape.dim,
        "num_heads": shape.heads,
        "num_layers": shape.layers,
        "hidden_scale": shape.hidden_scale,
        "norm": "layer_norm",
        "norm_first": True,
        "bias_proj": False,
        "bias_ff": False,
        "bias_attn": False,
        "dropout": 0.0,
        "activation": "gelu",
        "causal": True,
        "custom": False,
        "memory_efficient": True,
        "cross_attention": not shape.prepends,
        "positional_embedding": "sin",
        **overrides,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lm = LMModel(
            DelayedPatternProvider(len(shape.delays), list(shape.delays)),
            ConditioningProvider({}),
            ConditionFuser(fuse),
            **settings,
        )
        # Weights that spread, so that attention and the layers' order matter.
        for parameter in lm.parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=1.2 / parameter.shape[1] ** 0.5)
    return lm.eval().requires_grad_(False)


def both_rows(condition: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """audiocraft's condition tensors for guidance: float [n, d] -> the condition, and zeros without it."""
    pair = torch.stack([condition, torch.zeros_like(condition)])
    return {"description": (pair, torch.ones(pair.shape[:2]))}


class Reference:
    """audiocraft's model at batch 1, fed column by column through its own streaming."""

    def __init__(self, lm: Any, condition: Tensor) -> None:
        self._lm = lm
        self._conditions = both_rows(condition)

    @torch.no_grad()
    def logits(self, columns: Tensor, first: int) -> list[Tensor]:
        """int64 [K, S]: the first `first` columns at once, then one at a time; after each call the logits
        for the next column, [2, K, card]."""
        pieces = [columns[:, :first], *(columns[:, [index]] for index in range(first, columns.shape[1]))]
        with self._lm.streaming():
            return [
                self._lm(piece.expand(2, -1, -1), [], self._conditions)[:, :, -1]
                for piece in pieces
                if piece.shape[1]
            ]
