"""The transformer of an HTDemucs: packed products, with the layer scales as part of their weights."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from deployments.engines.separation.demucs.fast_cpu.attention import attend
from deployments.engines.separation.demucs.fast_cpu.norms import LayerNorm, WholeNorm
from deployments.engines.separation.demucs.fast_cpu.products import Linear


class Transformer:
    """`demucs.transformer.CrossTransformerEncoder` of `is_quick_transformer`.

    Maps [batch, frequencies, times, channels] and [batch, positions, channels] onto the same.
    """

    def __init__(
        self, transformer: Any, dtype: torch.dtype, *, frequencies: int, times: int, positions: int
    ) -> None:
        self._dtype = dtype
        self._norm, self._norm_t = LayerNorm(transformer.norm_in), LayerNorm(transformer.norm_in_t)
        self._classic_parity = transformer.classic_parity
        self._layers, self._layers_t = (
            [
                (_SelfLayer if index % 2 == self._classic_parity else _CrossLayer)(layer, dtype, rows)
                for index, layer in enumerate(layers)
            ]
            for layers, rows in (
                (transformer.layers, frequencies * times),
                (transformer.layers_t, positions),
            )
        )
        self._positions, self._positions_t = _positions(transformer, frequencies, times, positions)

    def __call__(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        batch, frequencies, times, channels = x.shape
        x = x.transpose(1, 2).reshape(batch, times * frequencies, channels).float()
        x = self._norm(x) + self._positions
        xt = self._norm_t(xt.float()) + self._positions_t
        for index, (layer, layer_t) in enumerate(zip(self._layers, self._layers_t, strict=True)):
            if index % 2 == self._classic_parity:
                x, xt = layer(x, x), layer_t(xt, xt)
            else:
                x, xt = layer(x, xt), layer_t(xt, x)
        x = x.to(self._dtype).view(batch, times, frequencies, channels).transpose(1, 2).contiguous()
        return x, xt.to(self._dtype)


def _positions(transformer: Any, frequencies: int, times: int, positions: int) -> tuple[Tensor, Tensor]:
    """What is added to each position: [1, times * frequencies, channels] and [1, positions, channels]."""
    from demucs.transformer import create_2d_sin_embedding, create_sin_embedding

    channels = transformer.layers[0].linear1.in_features
    spectral = create_2d_sin_embedding(channels, frequencies, times, "cpu", transformer.max_period)
    temporal = create_sin_embedding(positions, channels, 0, "cpu", transformer.max_period)
    weight = transformer.weight_pos_embed
    return (
        weight * rearrange(spectral, "b c fr t1 -> b (t1 fr) c").contiguous(),
        weight * rearrange(temporal, "t2 b c -> b t2 c").contiguous(),
    )


class _Layer:
    """What both kinds have: the feed-forward half and the norm behind it. The sum that goes through all layers is
    float32."""

    def __init__(self, layer: Any, norm: Any, dtype: torch.dtype, rows: int) -> None:
        self._dtype = dtype
        self._norm = LayerNorm(norm)
        self._inner = Linear(layer.linear1.weight, layer.linear1.bias, dtype, rows)
        self._outer = Linear(*_scaled(layer.linear2, layer.gamma_2), dtype, rows)
        norm_out = layer.norm_out
        self._norm_out = None if norm_out is None else WholeNorm(norm_out.weight, norm_out.bias, norm_out.eps)

    def _finished(self, x: Tensor) -> Tensor:
        inner = self._inner(self._norm(x).to(self._dtype), "gelu")
        x = _added(self._outer, inner, x)
        return x if self._norm_out is None else self._norm_out(x)


class _SelfLayer(_Layer):
    """`demucs.transformer.MyTransformerEncoderLayer`."""

    def __init__(self, layer: Any, dtype: torch.dtype, rows: int) -> None:
        super().__init__(layer, layer.norm2, dtype, rows)
        attention = layer.self_attn
        self._heads = attention.num_heads
        self._norm_before = LayerNorm(layer.norm1)
        self._mixed = Linear(attention.in_proj_weight, attention.in_proj_bias, dtype, rows)
        self._project = Linear(*_scaled(attention.out_proj, layer.gamma_1), dtype, rows)

    def __call__(self, x: Tensor, _: Tensor) -> Tensor:
        queries, keys, values = self._mixed(self._norm_before(x).to(self._dtype)).chunk(3, -1)
        attended = attend(queries, keys, values, self._heads)
        return self._finished(_added(self._project, attended, x))


class _CrossLayer(_Layer):
    """`demucs.transformer.CrossTransformerEncoderLayer`."""

    def __init__(self, layer: Any, dtype: torch.dtype, rows: int) -> None:
        super().__init__(layer, layer.norm3, dtype, rows)
        attention = layer.cross_attn
        self._heads = attention.num_heads
        width = attention.embed_dim
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        self._norm_before, self._norm_other = LayerNorm(layer.norm1), LayerNorm(layer.norm2)
        self._queries = Linear(weight[:width], bias[:width], dtype, rows)
        self._others = Linear(weight[width:], bias[width:], dtype, rows)
        self._project = Linear(*_scaled(attention.out_proj, layer.gamma_1), dtype, rows)

    def __call__(self, x: Tensor, other: Tensor) -> Tensor:
        queries = self._queries(self._norm_before(x).to(self._dtype))
        keys, values = self._others(self._norm_other(other).to(self._dtype)).chunk(2, -1)
        attended = attend(queries, keys, values, self._heads)
        return self._finished(_added(self._project, attended, x))


def _added(linear: Linear, x: Tensor, to: Tensor) -> Tensor:
    """A new float32 tensor."""
    if x.dtype is torch.float32:
        return linear.with_other(x, to, "add")
    return to + linear(x)


def _scaled(linear: Any, scale: Any) -> tuple[Tensor, Tensor]:
    """The weights of a linear layer and the layer scale (or nothing) behind it."""
    factors = getattr(scale, "scale", None)
    if factors is None:
        return linear.weight, linear.bias
    return linear.weight * factors[:, None], linear.bias * factors


def is_quick_transformer(transformer: Any) -> bool:
    """Whether `Transformer` does what the transformer does."""
    return (
        transformer.emb == "sin"
        and transformer.sin_random_shift == 0
        and len(transformer.layers) > 0
        and isinstance(transformer.norm_in, torch.nn.LayerNorm | torch.nn.Identity)
        and all(_is_plain(layer) for layer in (*transformer.layers, *transformer.layers_t))
    )


def _is_plain(layer: Any) -> bool:
    attention = getattr(layer, "self_attn", None) or layer.cross_attn
    norms = [layer.norm1, layer.norm2, getattr(layer, "norm3", layer.norm2)]
    return (
        layer.norm_first
        and not layer.sparse
        and isinstance(attention, torch.nn.MultiheadAttention)
        and attention.in_proj_bias is not None
        and all(isinstance(norm, torch.nn.LayerNorm) for norm in norms)
        and (layer.norm_out is None or layer.norm_out.num_groups == 1)
        and layer.activation is functional.gelu
    )
