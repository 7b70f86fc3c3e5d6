from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.music.batching.philox import gumbel, philox

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_it_gives_the_known_answers_of_random123(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    c0, c1, c2, c3 = (torch.tensor([word]) for word in counter)
    assert tuple(int(word) for word in philox((c0, c1, c2, c3), key)) == expected


@given(
    seed=st.integers(0, 2**32 - 1),
    first=st.integers(0, 20_000),
    steps=st.integers(1, 9),
    cut=st.integers(0, 8),
    card=st.integers(1, 70),
)
def test_a_value_does_not_depend_on_what_is_asked_for_with_it(
    seed: int, first: int, steps: int, cut: int, card: int
) -> None:
    whole = gumbel(seed, first, steps, 4, card, CPU)
    at = min(cut, steps - 1)
    assert torch.equal(gumbel(seed, first + at, 1, 4, card, CPU)[0], whole[at])
    assert torch.equal(gumbel(seed, first, steps, 3, max(1, card - 3), CPU), whole[:, :3, : max(1, card - 3)])


def test_the_noise_is_standard_gumbel() -> None:
    noise = gumbel(7, 0, 64, 4, 2048, CPU).numpy().ravel()
    assert np.isfinite(noise).all()
    # Kolmogorov-Smirnov against exp(-exp(-x)); 1.95 / sqrt(n) is exceeded once in a thousand.
    ordered = np.sort(noise)
    distance = np.abs(np.exp(-np.exp(-ordered)) - (np.arange(ordered.size) + 0.5) / ordered.size).max()
    assert distance < 1.95 / np.sqrt(ordered.size)


def test_seeds_steps_and_codebooks_have_noise_of_their_own() -> None:
    streams = torch.cat(
        [gumbel(seed, 0, 8, 4, 2048, CPU).reshape(-1, 2048) for seed in (0, 1, 2**31, 2**32 - 1)]
    )
    correlation = torch.corrcoef(streams) - torch.eye(len(streams))
    assert correlation.abs().max() < 0.12
