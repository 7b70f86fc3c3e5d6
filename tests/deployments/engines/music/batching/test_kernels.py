"""Each kernel against its twin in plain numpy, and what no twin shows: that company, threads and memory change no
bit."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.engines.music.batching import kernels
from deployments.engines.music.batching.decoder import Decoder, Layout
from deployments.engines.music.batching.kernels.packing import pack
from deployments.engines.music.batching.linear import Precision, linear_maker
from deployments.engines.music.batching.philox import gumbel
from deployments.engines.music.batching.sampling import SamplingRows, choose
from deployments.engines.music.protocol import Sampling
from tests.deployments.engines.music.models import Shape, random_lm

pytestmark = pytest.mark.torch
if not kernels.is_available():
    pytest.skip(f"no kernels for {platform.machine()}", allow_module_level=True)

from deployments.engines.music.batching.kernels import arithmetic, drawing, running  # noqa: E402

CPU = torch.device("cpu")
Floats = NDArray[np.float32]
FORMS = {"float32": (torch.float32, 0), "bfloat16": (torch.bfloat16, 1), "int8": (torch.int8, 2)}


def _floats(*shape: int, seed: int, scale: float = 1.0) -> Floats:
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def _multiply(form: int, weight: torch.Tensor, x: Floats, width: int) -> Floats:
    panels = pack(weight, width)
    outputs = np.full((len(panels.data), len(x), width), np.nan, np.float32)
    for index, sums in enumerate(outputs):
        arithmetic.multiply_panel(
            form,
            width,
            panels.data.ctypes.data + index * panels.panel_bytes,
            x.ctypes.data,
            x.strides[0],
            len(x),
            panels.inputs,
            sums.ctypes.data,
        )
    return outputs.transpose(1, 0, 2).reshape(len(x), -1)[:, : panels.outputs]


@settings(max_examples=60)
@given(
    form=st.sampled_from(sorted(FORMS)),
    rows=st.integers(1, 19),
    inputs=st.integers(1, 100).map(lambda half: 2 * half),
    outputs=st.integers(1, 150),
    is_narrow=st.booleans(),
    seed=st.integers(0, 999),
)
def test_products(form: str, rows: int, inputs: int, outputs: int, is_narrow: bool, seed: int) -> None:
    dtype, code = FORMS[form]
    values = torch.from_numpy(_floats(outputs, inputs, seed=seed))
    weight = (values * 30).clamp(-127, 127).round().to(dtype) if form == "int8" else values.to(dtype)
    x = _floats(rows, inputs, seed=seed + 1)
    width = 32 if is_narrow and form == "bfloat16" else 64
    product = _multiply(code, weight, x, width)
    expected = arithmetic.multiply_twin(x, weight.float().numpy())
    magnitude = np.abs(x) @ np.abs(weight.float().numpy()).T
    assert np.all(np.abs(product - expected) <= 1e-5 * magnitude)
    for row in range(rows):
        alone = _multiply(code, weight, x[row : row + 1].copy(), width)
        assert alone.tobytes() == product[row].tobytes()


@given(count=st.integers(1, 200), seed=st.integers(0, 999))
def test_dot_products(count: int, seed: int) -> None:
    a, b = _floats(count, seed=seed), _floats(count, seed=seed + 1)
    product = arithmetic.dot(a.ctypes.data, b.ctypes.data, count)
    assert abs(product - arithmetic.dot_twin(a, b)) <= 1e-5 * (np.abs(a) @ np.abs(b))


@given(width=st.integers(2, 200), scale=st.sampled_from([0.01, 1.0, 50.0]), seed=st.integers(0, 999))
def test_norms(width: int, scale: float, seed: int) -> None:
    x, weight, bias = (_floats(width, seed=seed + part, scale=scale if part == 0 else 1) for part in range(3))
    normed = np.empty_like(x)
    arithmetic.normalise(x, np.ones_like(x), weight, bias, np.float32(1e-5), normed)
    twin = arithmetic.normalise_twin(x, weight, bias, 1e-5)
    np.testing.assert_allclose(normed, twin, atol=2e-5, rtol=1e-4)


@given(count=st.integers(1, 300), scale=st.sampled_from([0.1, 3.0, 60.0]), seed=st.integers(0, 999))
def test_exponentials_and_gelu(count: int, scale: float, seed: int) -> None:
    x = _floats(count, seed=seed, scale=scale)
    powers = x.copy()
    arithmetic.exponentials(powers, count, x.max())
    np.testing.assert_allclose(powers, arithmetic.exponentials_twin(x, x.max()), rtol=1e-6, atol=2e-38)
    activated = x.copy()
    arithmetic.gelu(activated, np.empty_like(x))
    np.testing.assert_allclose(activated, arithmetic.gelu_twin(x), rtol=1e-6, atol=1e-6)


@given(positions=st.integers(1, 150), width=st.integers(1, 90), seed=st.integers(0, 999))
def test_attention(positions: int, width: int, seed: int) -> None:
    q, keys, values = (
        _floats(width, seed=seed),
        _floats(positions, width, seed=seed + 1),
        _floats(positions, width, seed=seed + 2),
    )
    out, scores = np.full_like(q, np.nan), np.empty(positions, np.float32)
    arithmetic.attend(
        q.ctypes.data, keys.ctypes.data, values.ctypes.data, positions, width, scores, out.ctypes.data
    )
    np.testing.assert_allclose(out, arithmetic.attend_twin(q, keys, values), atol=1e-5)


@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=90),
    place=st.integers(1, 90),
)
def test_the_nth_largest(values: list[float], place: int) -> None:
    floats, count = np.array(values, np.float32), min(place, len(values))
    found = drawing.nth_largest(floats, count, np.empty(len(floats), np.uint32))
    assert found == np.partition(floats, len(floats) - count)[len(floats) - count]


@given(seed=st.integers(0, 2**32 - 1), step=st.integers(0, 5000), codebook=st.integers(0, 7))
def test_the_noise_is_philoxs(seed: int, step: int, codebook: int) -> None:
    expected = gumbel(seed, step, 1, 8, 7, CPU)[0, codebook].numpy()
    made = [drawing.noise(seed, step, codebook, token) for token in range(7)]
    np.testing.assert_allclose(np.array(made, np.float32), expected, rtol=1e-5, atol=1e-6)


@dataclass
class Settled:
    """A take, as far as drawing looks at it."""

    sampling: Sampling
    draws_made: int


takes = st.builds(
    Settled,
    sampling=st.builds(
        Sampling,
        seed=st.integers(0, 2**32 - 1),
        cfg_coef=st.sampled_from([1.0, 3.0, 4.5]),
        temperature=st.sampled_from([0.0, 0.7, 1.0]),
        top_k=st.sampled_from([0, 1, 5, 40, 250]),
    ),
    draws_made=st.integers(0, 500),
)


@cache
def _decoder_with(card: int) -> Decoder:
    make = linear_maker(CPU, Precision.FLOAT32)
    return Decoder(random_lm(Shape(card=card)), make, most_rows=2, kv_dtype=torch.float32)


@given(takes=st.lists(takes, min_size=1, max_size=5), seed=st.integers(0, 999))
def test_drawing_is_what_torch_draws(takes: list[Settled], seed: int) -> None:
    codebooks, card = 4, 40
    rows, spans = 0, []
    for take in takes:
        more = 1 if take.sampling.cfg_coef == 1.0 else 2
        spans.append((rows, rows + more))
        rows += more
    logits = torch.from_numpy(_floats(rows, codebooks, card, seed=seed, scale=3))
    kernels_of_decoder = _decoder_with(card).kernels
    assert kernels_of_decoder is not None
    drawn = kernels_of_decoder.draw(logits, spans, takes)
    settings_ = SamplingRows.of([take.sampling for take in takes], card, CPU)
    noise = torch.stack(
        [gumbel(take.sampling.seed, take.draws_made, 1, codebooks, card, CPU)[0] for take in takes]
    )
    conditional = logits[[start for start, _ in spans]]
    null = logits[[end - 1 for _, end in spans]]
    coefficient = torch.tensor([take.sampling.cfg_coef for take in takes])[:, None, None]
    assert torch.equal(drawn, choose(null + (conditional - null) * coefficient, noise, settings_))


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8])
def test_threads_and_memory_change_no_bit(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that oneDNN has packed are read where they are, or from panels of their own."""
    shape = Shape(dim=256, heads=4, layers=2, card=64)
    lm = random_lm(shape)
    condition = torch.from_numpy(_floats(5, shape.dim, seed=1))

    def logits(*, threads: int) -> list[torch.Tensor]:
        decoder = Decoder(lm, linear_maker(CPU, precision), most_rows=6, kv_dtype=torch.float32)
        caches = [decoder.new_cache(2, 40, condition) for _ in range(3)]
        for index, each in enumerate(caches):
            each.kv.copy_(torch.from_numpy(_floats(*each.kv.shape, seed=index)))
            each.used = 7 * index + 1
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return [decoder.step(torch.full((3, 4), step), Layout(caches, CPU)) for step in range(6)]
        finally:
            torch.set_num_threads(before)

    monkeypatch.setattr(running, "_SHARED_FROM_BYTES", 0)
    expected = logits(threads=1)
    assert all(map(torch.equal, logits(threads=3), expected))
    module = "deployments.engines.music.batching.linear"
    monkeypatch.setattr(f"{module}.shared_with_onednn", lambda packed, weight: None)
    assert all(map(torch.equal, logits(threads=2), expected))


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8])
@pytest.mark.parametrize("prepends", [False, True])
def test_machines_without_kernels_do_the_same_work(precision: Precision, prepends: bool) -> None:
    shape = Shape(dim=64, heads=4, layers=2, card=64, prepends=prepends)
    lm = random_lm(shape)
    condition = None if prepends else torch.from_numpy(_floats(5, shape.dim, seed=1))

    def logits(*, has_kernels: bool) -> torch.Tensor:
        make = linear_maker(CPU, precision, has_kernels=has_kernels)
        decoder = Decoder(lm, make, most_rows=4, kv_dtype=torch.float32, has_kernels=has_kernels)
        assert (decoder.kernels is not None) == has_kernels
        cache = decoder.new_cache(2, 20, condition)
        decoder.prefill(torch.from_numpy(_floats(2, 9, shape.dim, seed=2)), cache)
        return torch.stack(
            [decoder.step(torch.full((1, 4), step), Layout([cache], CPU)) for step in range(4)]
        )

    within = 1e-4 if precision is Precision.FLOAT32 else 0.1
    torch.testing.assert_close(logits(has_kernels=True), logits(has_kernels=False), atol=within, rtol=within)


def test_pieces_of_a_prompt_change_no_bit() -> None:
    shape = Shape(dim=64, heads=4, layers=2, card=64)
    decoder = Decoder(
        random_lm(shape), linear_maker(CPU, Precision.FLOAT32), most_rows=4, kv_dtype=torch.float32
    )
    if not decoder.prefills_alike:
        pytest.skip("this machine's products are not alike in small and large pieces")
    condition = torch.from_numpy(_floats(5, shape.dim, seed=1))
    x = torch.from_numpy(_floats(2, 333, shape.dim, seed=2))

    def taken_in(piece: int) -> tuple[bytes, bytes]:
        cache = decoder.new_cache(2, 333, condition)
        for part in x.split(piece, dim=1):
            logits = decoder.prefill(part, cache)
        return logits.numpy().tobytes(), cache.kv.numpy().tobytes()

    assert taken_in(64) == taken_in(333) == taken_in(128)
