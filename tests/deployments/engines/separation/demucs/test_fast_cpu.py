"""The quick network gives what Demucs's own gives, and takes only networks that it can do."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deployments.engines.separation.demucs.fast_cpu.htdemucs import QuickHTDemucs
from deployments.engines.separation.demucs.network import Network, PlainNetwork, network_on

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
FOUR = ["drums", "bass", "other", "vocals"]
QUICK: dict[str, dict[str, Any]] = {
    "plain": {},
    "six sources": {"sources": [*FOUR, "guitar", "piano"]},
    "three levels": {"depth": 3},
    "three times the channels at each level": {"growth": 3},
    "no channels around the transformer": {"bottom_channels": 0},
    "a stride of two": {"stride": 2, "kernel_size": 4, "segment": Fraction(1, 2)},
    "no residuals": {"dconv_mode": 0},
    "residuals everywhere": {"dconv_mode": 3, "segment": Fraction(17, 10)},
    "three wider residuals": {"dconv_depth": 3, "dconv_comp": 4},
    "across first": {"t_cross_first": True},
    "no embedding of frequencies": {"freq_emb": 0},
    "no norms around the transformer": {"t_layer_scale": False, "t_norm_out": False, "t_norm_in": False},
    "smaller frames": {"nfft": 2048},
    "no context": {"context": 0},
}
PLAIN: dict[str, dict[str, Any]] = {
    "norms behind": {"t_norm_first": False},
    "bands": {"multi_freqs": [0.2, 0.5]},
    "masks": {"cac": False},
    "cape": {"t_emb": "cape"},
    "relu": {"t_gelu": False},
    "norms of groups": {"t_group_norm": 2},
    "norms of groups behind": {"t_norm_out": 3, "bottom_channels": 36},
    "context in the encoder": {"context_enc": 1},
    "norms": {"norm_starts": 2},
    "no transformer": {"t_layers": 0},
    "no rewriting": {"rewrite": False},
    "segments of any length": {"use_train_segment": False},
    "segments too short to be mirrored": {"segment": Fraction(4000, 44_100)},
}


def htdemucs(changed: dict[str, Any]) -> Any:
    """Small, and with parameters that have all been somewhere."""
    from demucs.htdemucs import HTDemucs

    options = {
        "sources": FOUR,
        "channels": 8,
        "depth": 4,
        "t_layers": 2,
        "t_heads": 2,
        "bottom_channels": 32,
        "segment": Fraction(3, 2),
    }
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        network = HTDemucs(**(options | changed)).eval().requires_grad_(False)
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return network


def noise(network: Any, samples: int | None = None, batch: int = 1) -> Tensor:
    shape = batch, 2, samples or int(network.segment * network.samplerate)
    return torch.from_numpy(np.random.default_rng(2).standard_normal(shape).astype(np.float32))


def both(network: Any, dtype: torch.dtype = torch.float32) -> tuple[Network, Network]:
    """The quickest, and the plain one in float32."""
    plain = PlainNetwork(copy.deepcopy(network), CPU, torch.float32)
    return network_on(network, CPU, dtype), plain


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_network_is_demucss(name: str) -> None:
    network = htdemucs(QUICK[name])
    mix, sources = noise(network), range(len(network.sources))
    quick, plain = both(network)
    assert isinstance(quick, QuickHTDemucs)
    np.testing.assert_allclose(quick(mix, sources), plain(mix, sources), atol=2e-5)


@pytest.mark.parametrize("name", PLAIN)
def test_what_cannot_be_quick_stays_as_it_is(name: str) -> None:
    assert isinstance(network_on(htdemucs(PLAIN[name]), CPU, torch.float32), PlainNetwork)


@pytest.mark.parametrize("samples", [1, 5_000, 40_000])
def test_segments_that_are_mostly_silence_are_demucss(samples: int) -> None:
    network = htdemucs({})
    mix = noise(network, samples, batch=2)
    quick, plain = both(network)
    np.testing.assert_allclose(quick(mix, range(4)), plain(mix, range(4)), atol=2e-5)


def test_sources_come_in_the_order_asked_for() -> None:
    network = htdemucs({})
    mix = noise(network)
    quick, _ = both(network)
    everything, two = quick(mix, range(4)), quick(mix, [3, 1])
    assert torch.equal(two, everything[:, [3, 1]])


def test_the_same_segment_has_the_same_bytes_and_stays_as_it_is() -> None:
    network = htdemucs({})
    mix = noise(network)
    before = mix.clone()
    quick, _ = both(network)
    assert torch.equal(quick(mix, range(4)), quick(mix, range(4)))
    assert torch.equal(mix, before)


def test_bfloat16_is_close() -> None:
    network = htdemucs({})
    mix = noise(network)
    rounded, plain = both(network, torch.bfloat16)
    reference = plain(mix, range(4))
    assert (rounded(mix, range(4)) - reference).norm() < 0.01 * reference.norm()


def test_weights_are_in_memory_once() -> None:
    network = htdemucs({})
    assert isinstance(network_on(network, CPU, torch.float32), QuickHTDemucs)
    assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.slow
def test_at_full_shape_too() -> None:
    network = htdemucs(
        {
            "channels": 48,
            "dconv_mode": 3,
            "bottom_channels": 512,
            "t_layers": 5,
            "t_heads": 8,
            "segment": Fraction(39, 5),
        }
    )
    mix = noise(network)
    quick, plain = both(network)
    np.testing.assert_allclose(quick(mix, range(4)), plain(mix, range(4)), atol=1e-4)
