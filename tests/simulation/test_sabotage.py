"""The simulation notices when the product is broken: each rule left out is caught by some seed."""

from __future__ import annotations

import pytest

from tests.simulation.invariants import violations
from tests.simulation.sabotage import SABOTAGES
from tests.simulation.world import play

SEEDS = 1600


@pytest.mark.slow
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_what_is_broken_is_noticed(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SABOTAGES[sabotage](monkeypatch)
    assert any(violations(play(seed)) for seed in range(SEEDS))


@pytest.mark.parametrize(
    "sabotage", ["a claim that raises no fence", "no marker", "a blob that was not written", "no takeover"]
)
def test_what_is_badly_broken_is_noticed_at_once(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SABOTAGES[sabotage](monkeypatch)
    assert any(violations(play(seed)) for seed in range(30))
