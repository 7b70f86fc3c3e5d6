"""What a seed stands for: how many processes, what their users do, and what befalls them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.simulation.store import Fault, Mishap, Owner

CHAOS_S = 60.0
"""Nothing new goes wrong after this."""

_SURGERY_OPERATIONS = 400
_LOST_REPLIES_CHANCE = 0.2
_STALLS_S = ((0.2, 3.0), (5.0, 15.0), (18.0, 30.0), (18.0, 60.0))
_SLOWNESS_S = ((0.1, 2.0), (4.0, 30.0))
_OUTAGES_S = ((0.5, 3.0), (5.0, 25.0))

_FAULTS: tuple[tuple[Fault, int], ...] = (
    (Fault.REQUEST_LOST, 2),
    (Fault.REPLY_LOST, 3),
    (Fault.REPLY_LOST_AND_RETRIED, 3),
    (Fault.SLOW, 3),
    (Fault.OUTAGE, 1),
    (Fault.STALL_BEFORE, 4),
    (Fault.STALL_AFTER, 4),
    (Fault.CRASH_BEFORE, 2),
    (Fault.CRASH_AFTER, 2),
)


class Weather(StrEnum):
    CALM = "calm"
    LOST_REPLIES = "lost replies"
    """Swaps that landed come back as conflicts: a product that reads back does not even notice."""
    SURGERY = "surgery"
    """A few faults at chosen operations: what one crash or pause at the worst moment does."""
    STORM = "storm"
    """Each operation may be struck."""

    @property
    def is_harmless(self) -> bool:
        return self in (Weather.CALM, Weather.LOST_REPLIES)


@dataclass(frozen=True, slots=True)
class Plan:
    weather: Weather
    ingresses: int
    runners: int
    clients: int
    actions: int
    collects: bool
    storm_chance: float
    engine_error_chance: float
    longest_take_s: float


def draw_plan(luck: random.Random) -> Plan:
    weather = luck.choices(list(Weather), weights=(1, 1, 4, 4))[0]
    return Plan(
        weather=weather,
        ingresses=2,
        runners=luck.choice((2, 2, 3)),
        clients=luck.choice((1, 2, 2, 3)),
        actions=luck.randint(3, 8),
        collects=luck.random() < 0.4,
        storm_chance=luck.choice((0.01, 0.03, 0.08)),
        engine_error_chance=0.0 if weather.is_harmless else luck.choice((0.0, 0.0, 0.3)),
        longest_take_s=luck.choice((2.0, 10.0, 25.0, 50.0)),
    )


class PlannedFates:
    """Implements `Fates` from a plan. `mishaps` counts what befell; `record` hears of each."""

    def __init__(
        self,
        plan: Plan,
        luck: random.Random,
        now_s: Callable[[], float],
        record: Callable[[str, str], None],
    ) -> None:
        self._plan = plan
        self._luck = luck
        self._now_s = now_s
        self._record = record
        self._struck = frozenset(luck.sample(range(_SURGERY_OPERATIONS), luck.randint(1, 5)))
        self._operations = 0
        self._chaos_s = CHAOS_S
        self.mishaps = 0

    def rest(self) -> None:
        """Let nothing go wrong any more: a process that died now could not clean up."""
        self._chaos_s = 0.0

    def next(self, owner: Owner, operation: str, key: str) -> Mishap:
        self._operations += 1
        mishap = self._draw() if self._strikes() else Mishap(Fault.NONE)
        if mishap.fault is not Fault.NONE:
            self.mishaps += 1
            self._record(owner.name, f"{operation} {key}: {mishap.fault} {mishap.duration_s:.1f}")
        return mishap

    def _strikes(self) -> bool:
        if self._now_s() >= self._chaos_s:
            return False
        match self._plan.weather:
            case Weather.CALM:
                return False
            case Weather.LOST_REPLIES:
                return self._luck.random() < _LOST_REPLIES_CHANCE
            case Weather.SURGERY:
                return self._operations in self._struck
            case Weather.STORM:
                return self._luck.random() < self._plan.storm_chance

    def _draw(self) -> Mishap:
        if self._plan.weather is Weather.LOST_REPLIES:
            return Mishap(Fault.REPLY_LOST_AND_RETRIED)
        fault = self._luck.choices(
            [fault for fault, _ in _FAULTS], weights=[weight for _, weight in _FAULTS]
        )[0]
        match fault:
            case Fault.SLOW:
                return Mishap(fault, self._between(_SLOWNESS_S))
            case Fault.OUTAGE:
                return Mishap(fault, self._between(_OUTAGES_S))
            case Fault.STALL_BEFORE | Fault.STALL_AFTER:
                return Mishap(fault, self._between(_STALLS_S))
            case _:
                return Mishap(fault)

    def _between(self, ranges_s: tuple[tuple[float, float], ...]) -> float:
        return self._luck.uniform(*self._luck.choice(ranges_s))
