"""How busy a deployment is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What is being worked on, and what waits until there is room for it."""

    ongoing: int = 0
    queued: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(self.ongoing + other.ongoing, self.queued + other.queued)
