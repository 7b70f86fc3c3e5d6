from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.batching.sequence import TokenSequence

pytestmark = pytest.mark.torch
SPECIAL = 99


@pytest.fixture(scope="module", autouse=True)
def audiocraft() -> None:
    import_audiocraft()


@given(
    delays=st.lists(st.integers(0, 3), min_size=1, max_size=8).map(lambda delays: sorted([0, *delays])),
    frames=st.integers(1, 30),
    data=st.data(),
)
def test_it_is_audiocrafts_delay_pattern(delays: list[int], frames: int, data: st.DataObject) -> None:
    from audiocraft.modules.codebooks_patterns import DelayedPatternProvider

    known = data.draw(st.integers(0, frames - 1))
    codes = torch.randint(0, SPECIAL, (len(delays), frames), generator=torch.Generator().manual_seed(frames))
    pattern = DelayedPatternProvider(len(delays), delays).get_pattern(frames)
    expected = pattern.build_pattern_sequence(codes[None], SPECIAL)[0][0]

    sequence = TokenSequence(codes[:, :known], frames, delays, SPECIAL)
    assert sequence.next == pattern.get_first_step_with_timesteps(known)
    assert torch.equal(sequence.prompt_columns, expected[:, : sequence.next])
    while not sequence.is_complete:
        seen = sequence.complete_frames
        assert torch.equal(sequence.codes(0, seen), codes[:, :seen])
        # What the model says where nothing is asked for must be without effect.
        column = expected[:, sequence.next]
        drawn = torch.where(column == SPECIAL, 0, column)
        assert torch.equal(sequence.append(drawn), column)
    assert sequence.complete_frames == frames
    assert torch.equal(sequence.codes(0, frames), codes)
