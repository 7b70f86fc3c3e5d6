"""Who is killed when: one schedule for one seed."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from tests.serve.chaos.stand import Victim

PAUSES_S = (2.0, 9.0)

# A node takes half of everything along and is long in coming back; a generator is what takes are lost with.
_WEIGHTS = {
    Victim.GENERATOR: 5,
    Victim.RUNNER: 5,
    Victim.INGRESS: 4,
    Victim.HUB: 1,
    Victim.PROXY: 3,
    Victim.CONTROLLER: 3,
    Victim.NODE: 2,
    Victim.RAYLET: 2,
    Victim.HEAD: 1,
    Victim.STORE: 3,
    Victim.VERSION: 1,
}


@dataclass(frozen=True, slots=True)
class Strike:
    """`choice` (0..1) picks one of those that are there."""

    after_s: float
    """Since the last one."""
    victim: Victim
    choice: float

    def __str__(self) -> str:
        return f"{self.victim} {self.choice:.3f} after {self.after_s:.1f} s"


def draw_schedule(seed: int, kills: int, *, without: Collection[Victim] = ()) -> list[Strike]:
    """Each kind at least once if `kills` allow it, in an order of chance; none of `without`."""
    luck = random.Random(seed)
    weights = {victim: weight for victim, weight in _WEIGHTS.items() if victim not in without}
    victims = list(weights)[:kills]
    victims += luck.choices(list(weights), weights=list(weights.values()), k=kills - len(victims))
    luck.shuffle(victims)
    return [Strike(luck.uniform(*PAUSES_S), victim, luck.random()) for victim in victims]
