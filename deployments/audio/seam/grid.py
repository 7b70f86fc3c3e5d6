"""An even grid of beats, and how a take is moved and stretched so that its own grid lies on the line's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

MOST_STRETCH = 0.04
"""A take whose tempo is further off is played at its own."""

LEAST_STRETCH_S = 0.002
"""A stretch that moves the take's last beat by less is not worth it."""

_EARLIEST_S = 0.06
"""A take is moved later into its own audio rather than back over the parent's end by more than this: what the
parent has played is not played again."""

_TEMPOS = (1.0, 2.0, 0.5, 3.0, 1 / 3, 1.5, 2 / 3)
"""Grids are the same grid if one's period is so many of the other's: on every beat, or between them too."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Beats at `first_s + k * period_s`, in seconds from where a take begins; 0 <= `first_s` < `period_s`."""

    period_s: float
    first_s: float

    def moved_by(self, by_s: float) -> Grid:
        """The same beats, counted from `by_s` earlier: each `by_s` later."""
        return Grid(self.period_s, (self.first_s + by_s) % self.period_s)

    def to_record(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        return cls(float(record["period_s"]), float(record["first_s"]))


@dataclass(frozen=True, slots=True)
class Lock:
    """Where a take is read: from `from_s` after its own beginning on (before it, if negative), `stretch` seconds of
    its audio in each second."""

    from_s: float
    stretch: float


def lock(line: Grid, take: Grid, duration_s: float) -> Lock | None:
    """How `take` is read for its beats to lie on `line`'s, both counted from where the take begins. None where its
    tempo is more than 4 % off the line's, their halves, doubles and the like."""
    times = min(_TEMPOS, key=lambda each: abs(take.period_s * each / line.period_s - 1.0))
    stretch = take.period_s * times / line.period_s
    if abs(stretch - 1.0) > MOST_STRETCH:
        return None
    if abs(stretch - 1.0) * duration_s < LEAST_STRETCH_S:
        stretch = 1.0
    # Beats of the take at first + k * period are heard at (first + k * period - from) / stretch.
    period_s = min(take.period_s, line.period_s * stretch)
    from_s = (take.first_s - line.first_s * stretch) % period_s
    if from_s > period_s - _EARLIEST_S:
        from_s -= period_s
    return Lock(from_s, stretch)
