"""A replica's time is handed out whole: no second twice, none lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.telemetry.usage import SharedClock


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from("abc"), st.booleans()), max_size=30))
def test_all_shares_together_are_the_time_in_which_anything_ran(
    events: list[tuple[float, str, bool]],
) -> None:
    now_s, busy_s = 0.0, 0.0
    spent: Counter[str] = Counter()
    running: Counter[str] = Counter()
    clock = SharedClock(lambda tenant, seconds: spent.update({tenant: seconds}), lambda: now_s)  # type: ignore[dict-item]
    for after_s, tenant, begins in events:
        now_s += after_s
        busy_s += after_s if running.total() else 0.0
        if begins:
            clock.begin(tenant)
            running[tenant] += 1
        elif running[tenant]:
            clock.end(tenant)
            running[tenant] -= 1
        else:
            clock.settle()
    assert sum(spent.values()) == pytest.approx(busy_s)


def test_who_shares_a_replica_pays_a_share() -> None:
    now_s = 0.0
    spent: dict[str, float] = {"a": 0.0, "b": 0.0}

    def add(tenant: str, seconds: float) -> None:
        spent[tenant] += seconds

    clock = SharedClock(add, lambda: now_s)
    with clock.running("a"):
        now_s += 4
        with clock.running("b"), clock.running("b"):
            now_s += 6
    assert spent == {"a": 6.0, "b": 4.0}
