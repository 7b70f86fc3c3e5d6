from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.analysis.adherence import Target, adherence, key_score_of, tempo_score
from deployments.engines.analysis.mock import mock_analysis

tempos = st.floats(40, 220)


@given(tempos)
def test_the_tempo_itself_is_right_and_none_is_wrong(bpm: float) -> None:
    assert tempo_score(bpm, bpm) == tempo_score(bpm, bpm * 1.009) == 1.0
    assert tempo_score(bpm, None) == 0.0


@given(tempos, st.floats(0, 0.5), st.floats(0, 0.5))
def test_farther_off_is_never_better(bpm: float, one: float, other: float) -> None:
    nearer, farther = sorted((one, other))
    assert tempo_score(bpm, bpm * (1 + nearer)) >= tempo_score(bpm, bpm * (1 + farther))


@pytest.mark.parametrize("level", [2.0, 0.5, 3.0])
def test_another_metrical_level_is_worth_half(level: float) -> None:
    assert tempo_score(100.0, 100.0 * level) == 0.5


@pytest.mark.parametrize(
    ("asked", "heard", "score"),
    [
        ("Gb minor", "F# minor", 1.0),
        ("C", "G major", 0.5),
        ("C", "F major", 0.5),
        ("A minor", "C major", 0.3),
        ("A minor", "A major", 0.2),
        ("C", "F# major", 0.0),
        ("C", None, 0.0),
    ],
)
def test_near_keys_are_worth_something(asked: str, heard: str | None, score: float) -> None:
    assert key_score_of(asked, heard) == score


def test_only_what_was_asked_counts() -> None:
    heard = mock_analysis(2.0)
    assert adherence(Target(), heard).score is None
    assert adherence(Target(bpm=120), heard).score == 1.0
    assert adherence(Target(bpm=120, key="C"), heard).score == 0.65
