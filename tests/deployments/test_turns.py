"""Turns and shares, in counts."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deployments.turns import Shares, Turns

Arrivals = list[tuple[str, int]]


def test_a_burst_delays_another_by_one_item() -> None:
    turns: Turns[str] = Turns()
    for number in range(100):
        turns.append("greedy", f"greedy-{number}")
    for _ in range(10):
        turns.take(turns.owners()[0])
    turns.append("other", "other-0")
    order = [turns.take(turns.owners()[0]) for _ in range(3)]
    assert "other-0" in order[:2]
    assert len(turns) == 88


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 5), min_size=2),
    st.integers(20, 60),
)
def test_turns_are_as_the_weights(weights: dict[str, int], count: int) -> None:
    """While all have something waiting, nobody is more than one turn away from its share."""
    turns: Turns[int] = Turns()
    for owner, weight in weights.items():
        for number in range(count * 5):
            turns.append(owner, number, weight)
    had: Counter[str] = Counter()
    for taken in range(1, count + 1):
        owner = turns.owners()[0]
        assert turns.take(owner) == had[owner]  # the oldest first
        had[owner] += 1
        for each, weight in weights.items():
            assert abs(had[each] - taken * weight / sum(weights.values())) <= max(weights.values())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_nothing_is_lost_and_nobody_is_passed_over_twice(steps: list[tuple[str, bool]]) -> None:
    turns: Turns[int] = Turns()
    waiting: dict[str, list[int]] = {}
    passed: Counter[str] = Counter()
    for number, (owner, takes) in enumerate(steps):
        if not takes:
            turns.append(owner, number)
            waiting.setdefault(owner, []).append(number)
        elif len(turns):
            first = turns.owners()[0]
            assert turns.take(first) == waiting[first].pop(0)
            passed[first] = 0
            for other, items in waiting.items():
                if other != first and items:
                    passed[other] += 1
                    assert passed[other] <= 3, "others had two turns each before it had one"
        assert sorted(turns) == sorted(each for items in waiting.values() for each in items)


def test_what_is_removed_was_no_turn() -> None:
    turns: Turns[str] = Turns()
    turns.append("a", "a-0")
    turns.append("a", "a-1")
    turns.append("b", "b-0")
    turns.remove("a-0")
    assert [turns.take(turns.owners()[0]) for _ in range(2)] == ["a-1", "b-0"]
    assert list(turns) == []


def test_one_holder_never_gets_all_places_and_may_have_most() -> None:
    for places in (5, 16, 200, 1000):
        shares, held = Shares(places), Counter[str]()
        for holder in ("first", "second", "third"):
            while shares.take(holder):
                held[holder] += 1
        assert all(held[holder] > 0 for holder in ("first", "second"))
        assert 0.75 * places <= held["first"] < places
        assert held.total() <= places
        shares.give_back("first")
        assert shares.take("third")
    for places in (1, 2):  # too few to keep one free
        shares = Shares(places)
        assert [shares.take("only") for _ in range(places + 1)] == [True] * places + [False]
