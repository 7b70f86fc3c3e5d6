from __future__ import annotations

import pytest

from tests.serve.chaos.schedule import PAUSES_S, draw_schedule
from tests.serve.chaos.stand import Victim


def test_a_seed_is_one_schedule() -> None:
    assert draw_schedule(7, 40) == draw_schedule(7, 40) != draw_schedule(8, 40)


@pytest.mark.parametrize("kills", [1, len(Victim), 50])
def test_as_many_kills_as_asked_for_and_each_kind_among_them(kills: int) -> None:
    schedule = draw_schedule(3, kills)
    assert len(schedule) == kills
    assert len({strike.victim for strike in schedule}) == min(kills, len(Victim))
    for strike in schedule:
        assert PAUSES_S[0] <= strike.after_s <= PAUSES_S[1]
        assert 0.0 <= strike.choice < 1.0


def test_what_cannot_be_killed_is_not_drawn() -> None:
    schedule = draw_schedule(3, 60, without={Victim.STORE, Victim.HEAD})
    assert {strike.victim for strike in schedule} == set(Victim) - {Victim.STORE, Victim.HEAD}
