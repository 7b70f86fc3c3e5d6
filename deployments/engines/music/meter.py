"""The figures that a batching engine reports while it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BatchState:
    """`rows` of the last step (a guided take has two), the takes that made it, takes that wait for room, and
    what the keys and values of all admitted takes occupy."""

    rows: int
    takes: int
    waiting: int
    kv_bytes: int
    kv_budget_bytes: int


class Meter(Protocol):
    """Called from the batch's thread, so no method may block."""

    def stepped(self, state: BatchState, *, seconds: float) -> None:
        """After every step, with what it took; with no takes and 0 s when the batch comes to rest."""
        ...

    def admitted(self, *, waited_s: float) -> None:
        """A take got its room, this long after it came."""
        ...

    def first_audio(self, *, after_s: float, steps: int) -> None:
        """A take's first samples are out: seconds since it came, steps since its context was taken in."""
        ...

    def finished(self, *, audio_s: float, after_s: float) -> None:
        """A take is complete, this long after it came."""
        ...

    def let_go(self, *, after_s: float) -> None:
        """A take that nobody wants any more has lost its room, this long after that was said."""
        ...


class NoMeter:
    def stepped(self, state: BatchState, *, seconds: float) -> None:
        pass

    def admitted(self, *, waited_s: float) -> None:
        pass

    def first_audio(self, *, after_s: float, steps: int) -> None:
        pass

    def finished(self, *, audio_s: float, after_s: float) -> None:
        pass

    def let_go(self, *, after_s: float) -> None:
        pass
