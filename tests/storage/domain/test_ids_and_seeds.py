"""Ids repeat exactly when their parts do; seeds of takes repeat, differ and stay in range."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.ids import derived_id, random_id
from storage.domain.seeds import SEED_COUNT, seed_of_take
from storage.paths import component

parts = st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=4)
seeds = st.integers(0, SEED_COUNT - 1)


@given(one=parts, other=parts)
def test_a_derived_id_is_the_same_exactly_for_the_same_parts(one: list[str], other: list[str]) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


def test_parts_that_join_to_the_same_text_give_different_ids() -> None:
    assert len({derived_id("ab", "c"), derived_id("a", "bc"), derived_id("abc"), derived_id("abc", "")}) == 4


def test_ids_are_24_hex_digits_and_may_stand_in_keys() -> None:
    for one in (random_id(), derived_id("tenant", "route", "clé \U0001f3b5")):
        assert re.fullmatch(r"[0-9a-f]{24}", one)
        assert component(one) == one
    assert len({random_id() for _ in range(1000)}) == 1000


def test_derived_ids_do_not_change_between_releases() -> None:
    """An Idempotency-Key sent before an upgrade finds its records after it."""
    assert derived_id("t", "POST /v1/chains", "k") == "04d2c729ff82aa1b0c41910b"


@given(seed=seeds, take=st.integers(0, 63))
def test_a_takes_seed_is_in_range_and_alone_gives_that_take_again(seed: int, take: int) -> None:
    own = seed_of_take(seed, take)
    assert 0 <= own < SEED_COUNT
    assert seed_of_take(own, 0) == own
    assert seed_of_take(seed, take) == own


def test_the_first_take_uses_the_seed_itself_and_the_others_differ() -> None:
    assert seed_of_take(7, 0) == 7
    assert len({seed_of_take(7, take) for take in range(64)}) == 64
    assert seed_of_take(7, 1) != seed_of_take(8, 1)


def test_the_seeds_of_takes_do_not_change_between_releases() -> None:
    """A provenance written before an upgrade renders the same audio after it."""
    assert [seed_of_take(7, take) for take in (1, 2, 3)] == [3617640167, 2374935413, 287060127]


@pytest.mark.parametrize("seed", [-1, SEED_COUNT])
def test_a_seed_out_of_range_is_a_mistake(seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be"):
        seed_of_take(seed, 1)
