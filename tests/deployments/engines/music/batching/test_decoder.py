from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.batching.decoder import Cache, Decoder, Layout
from deployments.engines.music.batching.linear import Precision, linear_maker
from tests.deployments.engines.music.models import Reference, Shape, random_lm

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")

shapes = st.builds(
    lambda head_dim, heads, layers, card, delays, prepends, scale: Shape(
        head_dim * heads, heads, layers, card, tuple(sorted([0, *delays])), prepends, scale
    ),
    head_dim=st.sampled_from([4, 8, 12]),
    heads=st.integers(1, 4),
    layers=st.integers(1, 3),
    card=st.integers(2, 40),
    delays=st.lists(st.integers(0, 3), max_size=7),
    prepends=st.booleans(),
    scale=st.integers(1, 4),
)


def _decoder(lm: Any, precision: Precision = Precision.FLOAT32, most_rows: int = 16) -> Decoder:
    return Decoder(lm, linear_maker(CPU, precision), most_rows=most_rows, kv_dtype=torch.float32)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _tokens(shape: Shape, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, shape.card + 1, (len(shape.delays), count), generator=generator)


def _begin(
    decoder: Decoder, shape: Shape, condition: Tensor, columns: Tensor, stretch: int
) -> tuple[Cache, Tensor]:
    """A guided take that has taken in its condition and columns [K, n], in stretches."""
    null = torch.zeros_like(condition)
    prefix = torch.stack([condition, null]) if shape.prepends else torch.zeros((2, 0, decoder.width))
    cache = decoder.new_cache(2, 64 + prefix.shape[1], None if shape.prepends else condition)
    start = torch.cat([prefix, decoder.embed(columns.T).expand(2, -1, -1)], dim=1)
    for piece in start.split(stretch, dim=1):
        logits = decoder.prefill(piece, cache)
    return cache, logits


@settings(max_examples=60)
@given(
    shape=shapes,
    first=st.integers(1, 20),
    more=st.integers(0, 8),
    words=st.integers(1, 9),
    stretch=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_logits_are_audiocrafts(
    shape: Shape, first: int, more: int, words: int, stretch: int, seed: int
) -> None:
    lm = random_lm(shape, seed)
    condition = _random(words, shape.dim, seed=seed)
    columns = _tokens(shape, first + more, seed)
    expected = Reference(lm, condition).logits(columns, first)

    decoder = _decoder(lm)
    cache, logits = _begin(decoder, shape, condition, columns[:, :first], stretch)
    layout = Layout([cache], CPU)
    torch.testing.assert_close(logits, expected[0], atol=1e-4, rtol=0)
    for index in range(more):
        logits = decoder.step(columns[None, :, first + index], layout)
        torch.testing.assert_close(logits, expected[1 + index], atol=1e-4, rtol=0)


@settings(max_examples=25)
@given(
    shape=shapes,
    starts=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_a_takes_bits_do_not_depend_on_its_company(
    shape: Shape, starts: list[tuple[int, int]], order: Any
) -> None:
    decoder = _decoder(random_lm(shape))
    conditions = [_random(words, shape.dim, seed=index) for index, (_, words) in enumerate(starts)]
    columns = [_tokens(shape, first + 4, seed) for seed, (first, _) in enumerate(starts)]

    def caches() -> list[Cache]:
        return [
            _begin(decoder, shape, condition, tokens[:, :first], 64)[0]
            for condition, tokens, (first, _) in zip(conditions, columns, starts, strict=True)
        ]

    alone = [
        [decoder.step(tokens[None, :, first + step], Layout([cache], CPU)) for step in range(4)]
        for cache, tokens, (first, _) in zip(caches(), columns, starts, strict=True)
    ]
    together = caches()
    for step in range(4):
        takes = [*range(len(starts))]
        order.shuffle(takes)
        tokens = torch.stack([columns[take][:, starts[take][0] + step] for take in takes])
        logits = decoder.step(tokens, Layout([together[take] for take in takes], CPU))
        for place, take in enumerate(takes):
            assert torch.equal(logits[2 * place : 2 * place + 2], alone[take][step])


def test_a_take_without_guidance_has_one_row_and_the_same_logits() -> None:
    shape = Shape()
    decoder = _decoder(random_lm(shape))
    condition, columns = _random(5, shape.dim, seed=1), _tokens(shape, 7, 1)
    guided, _ = _begin(decoder, shape, condition, columns[:, :6], 64)
    single = decoder.new_cache(1, 64, condition)
    decoder.prefill(decoder.embed(columns[:, :6].T)[None], single)
    both = decoder.step(columns[None, :, 6].expand(2, -1), Layout([single, guided], CPU))
    torch.testing.assert_close(both[0], both[1], atol=1e-5, rtol=0)
    assert decoder.cache_bytes(1, 64) * 2 == decoder.cache_bytes(2, 64) == guided.kv.nbytes


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.INT8])
def test_fewer_bits_stay_near(precision: Precision) -> None:
    shape = Shape(dim=128, heads=4, layers=4, card=128)
    lm = random_lm(shape)
    condition, columns = _random(5, shape.dim, seed=1), _tokens(shape, 12, 1)
    expected = Reference(lm, condition).logits(columns, 12)[0]
    _, logits = _begin(_decoder(lm, precision), shape, condition, columns, 64)
    error = (logits - expected).norm() / expected.norm()
    assert 1e-5 < error < 0.05


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"positional_embedding": "rope"}, "rotary"),
        ({"norm_first": False}, "post-norm"),
        ({"layer_scale": 0.1}, "layer scale"),
        ({"activation": "relu"}, "gelu"),
        ({"past_context": 5}, "past"),
        ({"qk_layer_norm": True}, "queries"),
        ({"bias_attn": True}, "biases in cross-attention"),
    ],
    ids=lambda value: str(value),
)
def test_what_musicgen_never_has_is_refused_by_name(overrides: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelUnavailable, match=named):
        _decoder(random_lm(Shape(), **overrides))


def test_biases_of_models_without_cross_attention_are_used() -> None:
    shape = Shape(prepends=True)
    lm = random_lm(shape, bias_attn=True, bias_ff=True, bias_proj=True)
    for name, parameter in lm.named_parameters():
        if name.endswith("bias"):
            parameter.data = _random(*parameter.shape, seed=len(name))
    condition, columns = _random(5, shape.dim, seed=1), _tokens(shape, 6, 1)
    expected = Reference(lm, condition).logits(columns, 6)[0]
    _, logits = _begin(_decoder(lm), shape, condition, columns, 64)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
