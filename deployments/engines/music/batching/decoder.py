"""MusicGen's transformer, with its keys and values kept: `prefill` takes a sequence in, `step` goes on by one.

The same function as audiocraft's `LMModel`, from the same weights, for takes that are each at a place of
their own: every take has its cache, allocated once to the length that it will need. A take has two rows, the
conditional one and (unless its guidance is 1) the one without conditions, next to each other.

Shapes: R rows of all takes, K codebooks, d width, H heads, D = d / H, n positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.batching import kernels
from deployments.engines.music.batching.linear import Linear, MakeLinear, settle, settle_pieces

if TYPE_CHECKING:
    from deployments.engines.music.batching.kernels.running import StepKernels, Tables


class Cache:
    """What the decoder remembers of one take.

    `kv` is [layers, rows, 2, H, length, D], of which `used` positions are filled. `text` is made of the text
    that cross-attention reads, [layers, 2, 1, H, tokens, D], for the conditional row; None for models without
    cross-attention. Without conditions the text's embedding is zero, and so is all that is made from it: the
    other row needs none.
    """

    def __init__(self, kv: Tensor, text: Tensor | None) -> None:
        self.kv = kv
        self.used = 0
        # Views, made once: a step is many small calls.
        self.keys = [layer[:, 0] for layer in kv]  # each [rows, H, length, D]
        self.values = [layer[:, 1] for layer in kv]
        self.text = None if text is None else [(keys, values) for keys, values in text]

    @property
    def rows(self) -> int:
        return self.kv.shape[1]

    @property
    def length(self) -> int:
        return self.kv.shape[4]

    def copy_start(self, other: Cache, positions: int) -> None:
        """Take over what another take of the same beginning has computed for it."""
        self.kv[..., :positions, :] = other.kv[..., :positions, :]
        self.used = positions


QUERIES = 64
"""Prefill's attention goes over the queries in blocks of so many positions, which begin at its multiples: what a
position gets does not depend on how many are taken in with it."""


def _block_starts(start: int, end: int) -> list[int]:
    return [start, *range(start - start % QUERIES + QUERIES, end, QUERIES)]


class Layout:
    """Where the takes of a batch have their rows; made again only when the batch changes."""

    def __init__(self, caches: Sequence[Cache], device: torch.device) -> None:
        starts = list(accumulate((cache.rows for cache in caches), initial=0))
        self.rows = starts.pop()
        self.tables: Tables | None = None
        """What the kernels know of the rows."""
        self.spans = [(start, start + cache.rows, cache) for start, cache in zip(starts, caches, strict=True)]
        self.take_of_row = torch.tensor(
            [take for take, cache in enumerate(caches) for _ in range(cache.rows)], device=device
        )
        self.conditional: Tensor | slice
        self.null: Tensor | slice
        if all(cache.rows == 2 for cache in caches):  # the usual case, and slices cost less than indices
            self.conditional, self.null = slice(0, None, 2), slice(1, None, 2)
        else:
            self.conditional = torch.tensor(starts, device=device)
            self.null = torch.tensor([end - 1 for _, end, _ in self.spans], device=device)


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation, in float32 whatever the checkpoint's format."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, norm: Any) -> Norm:
        return cls(norm.weight.detach().float(), norm.bias.detach().float(), norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True)
class Cross:
    norm: Norm
    q: Linear
    kv: tuple[Tensor, Tensor | None]
    out: Linear

    @classmethod
    def of(cls, norm: Any, attention: Any, make: MakeLinear) -> Cross:
        weight, bias = attention.in_proj_weight.detach(), attention.in_proj_bias
        d = attention.embed_dim
        return cls(
            norm=Norm.of(norm),
            q=make(weight[:d], None if bias is None else bias[:d]),
            kv=(weight[d:].float(), None if bias is None else bias[d:].detach().float()),
            out=make(attention.out_proj.weight, attention.out_proj.bias),
        )


@dataclass(frozen=True, slots=True)
class Layer:
    norm_self: Norm
    qkv: Linear
    out: Linear
    cross: Cross | None
    norm_mlp: Norm
    up: Linear
    down: Linear

    @classmethod
    def of(cls, layer: Any, make: MakeLinear) -> Layer:
        attention = layer.self_attn
        cross = layer.cross_attention
        return cls(
            norm_self=Norm.of(layer.norm1),
            qkv=make(attention.in_proj_weight, attention.in_proj_bias),
            out=make(attention.out_proj.weight, attention.out_proj.bias),
            cross=None if cross is None else Cross.of(layer.norm_cross, cross, make),
            norm_mlp=Norm.of(layer.norm2),
            up=make(layer.linear1.weight, layer.linear1.bias),
            down=make(layer.linear2.weight, layer.linear2.bias),
        )

    def linears(self) -> list[Linear]:
        cross = [] if self.cross is None else [self.cross.q, self.cross.out]
        return [self.qkv, self.out, *cross, self.up, self.down]


class Decoder:
    """Built once from audiocraft's `LMModel`, whose matrices it copies into its own layout.

    `most_rows` is how many rows a step will have at most; up to there rows do not influence one another.
    `has_kernels`: whether steps are machine code made for this processor; None for where they can be.
    Raises ModelUnavailable for a model that has what MusicGen's have not.
    """

    def __init__(
        self,
        lm: Any,
        make: MakeLinear,
        *,
        most_rows: int,
        kv_dtype: torch.dtype,
        has_kernels: bool | None = None,
    ) -> None:
        _check(lm)
        self.device = lm.emb[0].weight.device
        self.width = int(lm.dim)
        self.card = int(lm.card)
        self.codebooks = int(lm.n_q)
        self.heads = int(lm.transformer.layers[0].self_attn.num_heads)
        self.head_dim = self.width // self.heads
        self.kv_dtype = kv_dtype
        self.blocks = [Layer.of(layer, make) for layer in lm.transformer.layers]
        self.norm_out = Norm.of(lm.out_norm)
        biases = [linear.bias for linear in lm.linears]
        self.head = make(
            torch.cat([linear.weight for linear in lm.linears]),
            None if biases[0] is None else torch.cat(biases),
        )
        self.embedding = torch.cat([table.weight.detach().float() for table in lm.emb])  # [K * (card+1), d]
        self.embedding_offset = torch.arange(self.codebooks, device=self.device) * (self.card + 1)
        self._max_period = float(lm.transformer.max_period)
        self._positional_scale = float(lm.transformer.positional_scale)
        self.positions = self.make_positions(0)
        self.prefills_alike = False
        """Whether a prompt gives the same bits in pieces of any multiple of `QUERIES` positions."""
        self.kernels: StepKernels | None = None
        if has_kernels is None:
            has_kernels = self.device.type == "cpu" and kernels.is_available()
        if has_kernels and self.width % 2 == 0 and kv_dtype is torch.float32:
            from deployments.engines.music.batching.kernels.running import StepKernels

            self.kernels = StepKernels(self)
            self.prefills_alike = settle_pieces(self.linears)
        elif self.device.type == "cpu":
            settle(self.linears, most_rows)

    @property
    def linears(self) -> list[Linear]:
        """Every product of a step, in its order."""
        return [*(linear for layer in self.blocks for linear in layer.linears()), self.head]

    @property
    def layers(self) -> int:
        return len(self.blocks)

    def cache_bytes(self, rows: int, length: int) -> int:
        """What the keys and values of a take occupy."""
        return self.layers * rows * 2 * self.width * length * self.kv_dtype.itemsize

    def new_cache(self, rows: int, length: int, text: Tensor | None) -> Cache:
        """`length`: positions of prefix and sequence together; text: float [tokens, d] or None."""
        shape = (self.layers, rows, 2, self.heads, length, self.head_dim)
        if length > len(self.positions):
            self.positions = self.make_positions(length)
        return Cache(
            kv=torch.empty(shape, dtype=self.kv_dtype, device=self.device),
            text=None if text is None else self.read(text),
        )

    def embed(self, tokens: Tensor) -> Tensor:
        """int64 [..., K] -> float32 [..., d], without positions."""
        return functional.embedding(tokens + self.embedding_offset, self.embedding).sum(dim=-2)

    @torch.inference_mode()
    def prefill(self, x: Tensor, cache: Cache) -> Tensor:
        """Take in the next n embedded positions of one take and give the logits after the last of them.

        x: float32 [rows, n, d] without positions -> float32 [rows, K, card]
        """
        rows, n, d = x.shape
        start, end = cache.used, cache.used + n
        x = (x + self.positions[start:end]).reshape(rows * n, d)
        blocks = [(first, min(first + QUERIES - first % QUERIES, end)) for first in _block_starts(start, end)]
        # True where a query may look: at what was there before, itself and what lies between.
        causal = {
            block: torch.ones((block[1] - block[0], block[1]), dtype=torch.bool, device=x.device).tril(
                block[0]
            )
            for block in blocks
        }
        for index, layer in enumerate(self.blocks):
            qkv = layer.qkv(layer.norm_self(x)).view(rows, n, 3, self.heads, self.head_dim)
            qkv = qkv.permute(0, 2, 3, 1, 4).to(self.kv_dtype)  # [rows, 3, H, n, D]
            cache.kv[index, :, :, :, start:end] = qkv[:, 1:]
            attended = [
                functional.scaled_dot_product_attention(
                    qkv[:, 0, :, first - start : last - start],
                    cache.keys[index][:, :, :last],
                    cache.values[index][:, :, :last],
                    attn_mask=causal[first, last],
                )
                for first, last in blocks
            ]
            a = attended[0] if len(attended) == 1 else torch.cat(attended, dim=2)
            x = x + layer.out(a.transpose(1, 2).reshape(rows * n, d).to(x.dtype))
            if layer.cross is not None and cache.text is not None:
                q = layer.cross.q(layer.cross.norm(x[:n])).view(1, n, self.heads, self.head_dim)
                a = functional.scaled_dot_product_attention(
                    q.transpose(1, 2).to(self.kv_dtype), *cache.text[index]
                )
                x[:n] += layer.cross.out(a.transpose(1, 2).reshape(n, d).to(x.dtype))
            x = x + layer.down(layer.up(layer.norm_mlp(x), gelu=True))
        cache.used = end
        return self.logits(x.view(rows, n, d)[:, -1])

    @torch.inference_mode()
    def step(self, tokens: Tensor, layout: Layout) -> Tensor:
        """One position further for every take. tokens: int64 [takes, K] -> logits float32 [R, K, card]"""
        if self.kernels is not None:
            return self.kernels.step(tokens, layout)
        at = torch.tensor([cache.used for _, _, cache in layout.spans], device=self.device)
        x = (self.embed(tokens) + self.positions[at])[layout.take_of_row]  # [R, d]
        for index, layer in enumerate(self.blocks):
            qkv = layer.qkv(layer.norm_self(x)).view(layout.rows, 3, self.heads, 1, self.head_dim)
            qkv = qkv.to(self.kv_dtype)
            # One call for each take, over just its own positions: its result has no part of another's.
            attended = []
            for start, end, cache in layout.spans:
                n = cache.used + 1
                cache.kv[index, :, :, :, n - 1 : n] = qkv[start:end, 1:]
                attended.append(
                    functional.scaled_dot_product_attention(
                        qkv[start:end, 0], cache.keys[index][:, :, :n], cache.values[index][:, :, :n]
                    )
                )
            x = x + layer.out(self._rejoin(attended).to(x.dtype))
            if layer.cross is not None:
                q = layer.cross.q(layer.cross.norm(x[layout.conditional]))
                q = q.to(self.kv_dtype).view(-1, 1, self.heads, 1, self.head_dim)
                read = [
                    functional.scaled_dot_product_attention(query, *cache.text[index])
                    for query, (_, _, cache) in zip(q, layout.spans, strict=True)
                    if cache.text is not None
                ]
                x[layout.conditional] += layer.cross.out(self._rejoin(read).to(x.dtype))
            x = x + layer.down(layer.up(layer.norm_mlp(x), gelu=True))
        for _, _, cache in layout.spans:
            cache.used += 1
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.norm_out(x)).view(-1, self.codebooks, self.card)

    def _rejoin(self, heads: Sequence[Tensor]) -> Tensor:
        """Each [rows, H, 1, D] -> [all rows, d]"""
        joined = heads[0] if len(heads) == 1 else torch.cat(list(heads))
        return joined.reshape(-1, self.width)

    def read(self, text: Tensor) -> Tensor:
        """float [tokens, d] -> [layers, 2, 1, H, tokens, D]"""
        tokens = text.shape[0]
        pairs = []
        for layer in self.blocks:
            assert layer.cross is not None  # noqa: S101 - of one model all layers have it or none
            weight, bias = layer.cross.kv
            kv = functional.linear(text.to(weight.dtype), weight, bias)  # [tokens, 2 d]
            pairs.append(kv.view(1, tokens, 2, self.heads, self.head_dim).permute(2, 0, 3, 1, 4))
        return torch.stack(pairs).to(self.kv_dtype).contiguous()

    def make_positions(self, length: int) -> Tensor:
        """float32 [at least length, d], by audiocraft's own function."""
        from audiocraft.modules.transformer import create_sin_embedding

        rounded = max(2048, 1 << (length - 1).bit_length()) if length else 2048
        positions = torch.arange(rounded, device=self.device)[None, :, None]
        table: Tensor = create_sin_embedding(positions, self.width, max_period=self._max_period)[0]
        return table * self._positional_scale


def _check(lm: Any) -> None:
    """Everything that a transformer of audiocraft may have and none of MusicGen's has."""
    layers = list(lm.transformer.layers)
    attentions = [a for layer in layers for a in (layer.self_attn, layer.cross_attention) if a is not None]
    crosses = [layer.cross_attention for layer in layers if layer.cross_attention is not None]
    unsupported = {
        "post-normalisation": not all(layer.norm_first for layer in layers) or lm.out_norm is None,
        "rotary positions": lm.transformer.positional_embedding != "sin",
        "layer scale": any(type(layer.layer_scale_1) is not torch.nn.Identity for layer in layers),
        "an activation other than gelu": any(layer.activation is not functional.gelu for layer in layers),
        "torch's own attention modules": not all(a.custom for a in attentions),
        "a limited past": any(a.past_context is not None for a in attentions),
        "shared keys (kv_repeat)": any(a.kv_repeat != 1 for a in attentions),
        "normalised queries": any(a.qk_layer_norm for a in attentions),
        "cross-attention in some layers only": 0 < len(crosses) < len(layers),
        "positions in cross-attention": lm.fuser.cross_attention_pos_emb,
        # With one, what is made of a zero embedding would not be zero.
        "biases in cross-attention": any(
            a.in_proj_bias is not None or a.out_proj.bias is not None for a in crosses
        ),
        "summed conditions": bool(
            lm.fuser.fuse2cond.get("sum") or lm.fuser.fuse2cond.get("input_interpolate")
        ),
    }
    found = [name for name, is_there in unsupported.items() if is_there]
    if found:
        raise ModelUnavailable(
            f"this model has {', '.join(found)}, which Segue's engine has not; use the engine audiocraft"
        )
