"""The models that the generator's benchmark measures: MusicGen's own shapes with random weights, and the tiny
checkpoint as it is shipped. Nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from configs.environment import load_settings
from deployments.engines.music.audiocraft.checkpoint import load_checkpoint
from deployments.engines.music.audiocraft.precision import choose_dtype, convert
from deployments.engines.music.batching.engine import use_threads
from deployments.engines.music.catalog import find
from tests.deployments.engines.music.models import Shape, random_lm

TINY = "tiny"
SMALL = "small"
SHAPES = {
    SMALL: Shape(dim=1024, heads=16, layers=24, card=2048),
    "medium": Shape(dim=1536, heads=24, layers=48, card=2048),
    "melody": Shape(dim=1536, heads=24, layers=48, card=2048, prepends=True),
}
CPU_MODELS = (SMALL, TINY)

_CPU_THREADS = {TINY: 1}
"""torch's threads where two are slower than one."""
_ALL_THREADS = torch.get_num_threads()

TEXT_TOKENS = 12
MELODY_POSITIONS = 235
"""The chroma of a melody, as it is put before the tokens."""

PAST_VALUE = 0.1
"""Stands for keys and values that were never computed: no step's time depends on them. Zeros could be pages that
the system has not even made yet."""


@dataclass(frozen=True, slots=True)
class Model:
    """audiocraft's `LMModel` on its device, in the format in which audiocraft itself would run it there.

    `text` is the condition, float32 [positions, d]: read by cross-attention, or put before the tokens.
    """

    name: str
    lm: Any
    text: Tensor
    prepends: bool
    device: torch.device
    dtype: torch.dtype
    threads: int | None

    @property
    def layers(self) -> int:
        return len(self.lm.transformer.layers)

    @property
    def codebooks(self) -> int:
        return int(self.lm.n_q)

    @property
    def longest_delay(self) -> int:
        """Steps that a take needs beyond its frames."""
        return int(max(self.lm.pattern_provider.delays))

    @property
    def weights_of_a_step(self) -> int:
        """How many weights a step multiplies with. Those that make keys and values of the text do so once for
        a take, so they are not among them."""
        return sum(map(_weights_of_a_layer, self.lm.transformer.layers)) + self._head_weights

    @property
    def prefix_positions(self) -> int:
        """Positions before the first column of tokens."""
        return len(self.text) if self.prepends else 0

    def steps(self, frames: int) -> int:
        """How often a take from text only must be gone on with."""
        return frames + self.longest_delay

    def kv_bytes(self, frames: int, dtype: torch.dtype) -> int:
        """What the keys and values of a guided take from text only are at least, at its end: the model takes in
        the special column and all others but the last."""
        positions = self.prefix_positions + self.steps(frames)
        return 2 * self.layers * 2 * positions * int(self.lm.dim) * dtype.itemsize

    def prefill_flops(self, columns: int) -> float:
        """What taking in the prompt of a guided take needs at least: the conditional row alone reads the text,
        a position looks back only, and only the last one gets logits."""
        rows, d = 2, int(self.lm.dim)
        positions = self.prefix_positions + columns
        total = 2.0 * rows * self._head_weights
        for layer in self.lm.transformer.layers:
            cross = _cross_weights(layer)
            own = _weights_of_a_layer(layer) - cross
            total += 2.0 * positions * (rows * own + cross)
            total += 2.0 * rows * positions**2 * d
            total += 4.0 * positions * len(self.text) * d if cross else 0.0
        return total

    @property
    def _head_weights(self) -> int:
        return sum(int(head.weight.numel()) for head in self.lm.linears)


def load_model(name: str, device: torch.device) -> Model:
    """Sets torch's threads for this model, too."""
    threads = _CPU_THREADS.get(name, _ALL_THREADS) if device.type == "cpu" else None
    use_threads(threads)
    lm = _tiny_lm(device) if name == TINY else random_lm(SHAPES[name]).to(device)
    dtype = choose_dtype("auto", device)
    if dtype is torch.float16:
        lm.half()
    convert(lm, dtype)
    prepends = bool(lm.fuser.fuse2cond["prepend"])
    positions = TEXT_TOKENS + (MELODY_POSITIONS if prepends else 0)
    text = torch.randn((positions, int(lm.dim)), generator=torch.Generator().manual_seed(1)).to(device)
    lm.condition_provider = GivenText(text.to(dtype))
    return Model(
        name=name,
        lm=lm,
        text=text,
        prepends=prepends,
        device=device,
        dtype=dtype,
        threads=threads,
    )


class GivenText(nn.Module):
    """Stands where audiocraft has its conditioners: every description is the same embedded text, and no
    description is zero. So no run has a text encoder's time in it."""

    def __init__(self, text: Tensor) -> None:
        super().__init__()
        self._text = text

    def tokenize(self, conditions: list[Any]) -> list[bool]:
        return [condition.text["description"] is not None for condition in conditions]

    def forward(self, is_given: list[bool]) -> dict[str, tuple[Tensor, Tensor]]:
        rows = torch.stack([self._text if given else torch.zeros_like(self._text) for given in is_given])
        return {"description": (rows, torch.ones(rows.shape[:2], device=rows.device))}


def _tiny_lm(device: torch.device) -> Any:
    return load_checkpoint(find(TINY), device, Path(load_settings().models.cache_dir)).lm


def _weights_of_a_layer(layer: Any) -> int:
    own = (
        layer.self_attn.in_proj_weight,
        layer.self_attn.out_proj.weight,
        layer.linear1.weight,
        layer.linear2.weight,
    )
    return sum(int(weight.numel()) for weight in own) + _cross_weights(layer)


def _cross_weights(layer: Any) -> int:
    """Of the queries and of the way out."""
    if layer.cross_attention is None:
        return 0
    return 2 * int(layer.cross_attention.out_proj.weight.numel())
