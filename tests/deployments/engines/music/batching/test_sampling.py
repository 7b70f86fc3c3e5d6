from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.music.batching.philox import gumbel
from deployments.engines.music.batching.sampling import SamplingRows, choose
from deployments.engines.music.protocol import Sampling

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")
CARD = 64

samplings = st.builds(
    Sampling,
    seed=st.integers(0, 2**32 - 1),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 3, 63, 64, 250]),
    top_p=st.sampled_from([0.0, 0.0, 0.01, 0.5, 1.0]),
)


def _logits(takes: int, seed: int) -> torch.Tensor:
    return 3 * torch.randn((takes, 4, CARD), generator=torch.Generator().manual_seed(seed))


def _noise(takes: list[Sampling]) -> torch.Tensor:
    return torch.stack([gumbel(take.seed, 5, 1, 4, CARD, CPU)[0] for take in takes])


@given(takes=st.lists(samplings, min_size=1, max_size=8), seed=st.integers(0, 999))
def test_a_take_draws_the_same_alone_and_in_any_company(takes: list[Sampling], seed: int) -> None:
    logits, noise = _logits(len(takes), seed), _noise(takes)
    together = choose(logits, noise, SamplingRows.of(takes, CARD, CPU))
    for index, take in enumerate(takes):
        one = slice(index, index + 1)
        assert torch.equal(choose(logits[one], noise[one], SamplingRows.of([take], CARD, CPU)), together[one])


@given(take=samplings, seed=st.integers(0, 999))
def test_only_what_audiocraft_would_allow_is_drawn(take: Sampling, seed: int) -> None:
    logits = _logits(1, seed)
    drawn = choose(logits, _noise([take]), SamplingRows.of([take], CARD, CPU))[0]
    for codebook in range(4):
        token, row = int(drawn[codebook]), logits[0, codebook]
        rank = int((row > row[token]).sum())
        if take.temperature == 0.0:
            assert rank == 0
        elif take.top_p > 0.0:
            probabilities = torch.softmax(row / take.temperature, dim=-1)
            more_likely = probabilities[row > row[token]].sum()
            assert more_likely <= take.top_p + 1e-6
        elif take.top_k > 0:
            assert rank < take.top_k


def test_tokens_come_as_often_as_their_probability_says() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))[None, None].expand(1, 4, 4)
    take = Sampling(seed=3, temperature=1.0, top_k=3)
    rows = SamplingRows.of([take], 4, CPU)
    noise = gumbel(take.seed, 0, 4000, 4, 4, CPU)
    drawn = torch.stack([choose(logits, step[None], rows)[0] for step in noise]).flatten()
    counts = torch.bincount(drawn, minlength=4) / len(drawn)
    assert counts[3] == 0
    torch.testing.assert_close(counts[:3], torch.tensor([0.5, 0.3, 0.15]) / 0.95, atol=0.02, rtol=0)
