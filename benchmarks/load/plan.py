"""How many musicians are at work, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    seconds: int
    musicians: int

    @staticmethod
    def at(phases: Sequence[Phase], run_s: float) -> Phase | None:
        """The phase that holds so long after the beginning; None after the last."""
        for phase in phases:
            if run_s < phase.seconds:
                return phase
            run_s -= phase.seconds
        return None


def phases_from(text: str) -> tuple[Phase, ...]:
    """`60x4,60x16`: 60 s with 4 musicians, then 60 s with 16."""
    return tuple(Phase(*map(int, part.split("x"))) for part in text.split(","))


def phases_to(phases: Sequence[Phase]) -> str:
    return ",".join(f"{phase.seconds}x{phase.musicians}" for phase in phases)
