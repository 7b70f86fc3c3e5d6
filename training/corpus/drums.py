"""Drum grooves: what a drummer strikes in a bar, in beats from its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

KICK, STICK, SNARE, CLAP, CLOSED_HAT, OPEN_HAT = 36, 37, 38, 39, 42, 46
LOW_TOM, MID_TOM, HIGH_TOM, CRASH, RIDE, TAMBOURINE, SHAKER = 45, 47, 50, 49, 51, 54, 70

FEELS = ("rock", "four on the floor", "funk", "ballad", "backbeat", "swing", "half-time", "waltz")


class Hit(NamedTuple):
    beat: float
    pitch: int
    velocity: float


@dataclass(frozen=True, slots=True)
class Groove:
    """`feel` is one of `FEELS`. `subdivision` is how many strokes of the hat (or what plays its part) a beat has:
    1, 2 or 4. `kicks` are beats of a bar, `fill_every` bars there is a fill, 0 for never."""

    feel: str
    subdivision: int
    timekeeper: int
    backbeat: int
    kicks: tuple[float, ...]
    fill_every: int

    def bar(self, number: int, meter: int, rng: np.random.Generator) -> Iterator[Hit]:
        """The hits of a bar; velocity is 0..1."""
        if number and self.fill_every and (number + 1) % self.fill_every == 0 and self.feel != "swing":
            yield from self._fill(meter, rng)
            meter_kept = meter - 1
        else:
            meter_kept = meter
        if self.fill_every and number % self.fill_every == 0 and rng.random() < 0.6:
            yield Hit(0.0, CRASH, 0.8)
        yield from (hit for hit in self._time(meter, rng) if hit.beat < meter_kept)
        for beat in self.kicks:
            if beat < meter_kept:
                yield Hit(beat, KICK, 0.9 if beat == int(beat) else 0.75)
        for beat in self._backbeats(meter):
            if beat < meter_kept:
                yield Hit(beat, self.backbeat, 0.9)
        if self.feel == "funk":
            for beat in (1.75, 2.25, 3.75):
                if rng.random() < 0.4 and beat < meter_kept:
                    yield Hit(beat, SNARE, 0.3)

    def _time(self, meter: int, rng: np.random.Generator) -> Iterator[Hit]:
        if self.feel == "swing":
            for beat in map(float, range(meter)):
                yield Hit(beat, RIDE, 0.8)
                if beat % 2 == 1 or (meter == 3 and beat == 2):
                    yield Hit(beat + 0.5, RIDE, 0.55)
                    yield Hit(beat, 44, 0.6)  # the hat, by foot
            return
        for stroke in range(meter * self.subdivision):
            beat = stroke / self.subdivision
            accent = 0.75 if beat == int(beat) else 0.5
            is_open = self.feel == "four on the floor" and beat % 1 == 0.5
            pitch = OPEN_HAT if is_open else self.timekeeper
            if rng.random() < 0.97:
                yield Hit(beat, pitch, accent)

    def _backbeats(self, meter: int) -> tuple[float, ...]:
        match self.feel:
            case "half-time":
                return (2.0,)
            case "waltz":
                return (1.0, 2.0)
            case "swing":
                return ()
            case _ if meter == 3:
                return (2.0,)
            case _:
                return (1.0, 3.0)

    def _fill(self, meter: int, rng: np.random.Generator) -> Iterator[Hit]:
        steps = 4 if self.subdivision < 4 and rng.random() < 0.5 else 2
        for step in range(steps):
            pitch = (SNARE, HIGH_TOM, MID_TOM, LOW_TOM)[step * 4 // steps]
            yield Hit(meter - 1 + step / steps, pitch, 0.7 + 0.2 * step / steps)


def draw_groove(rng: np.random.Generator, stratum: str, bpm: float, meter: int) -> Groove:
    """A groove that drummers would play at this tempo: the quicker, the fewer strokes in a beat."""
    feel = {"swing": "swing", "half-time": "half-time"}.get(stratum)
    if feel is None:
        choices = ("waltz", "ballad", "backbeat") if meter == 3 else FEELS[:5]
        feel = str(rng.choice(choices))
    subdivision = _draw_subdivision(rng, bpm)
    return Groove(
        feel=feel,
        subdivision=subdivision,
        timekeeper=int(rng.choice((CLOSED_HAT, CLOSED_HAT, CLOSED_HAT, RIDE, SHAKER, TAMBOURINE))),
        backbeat=int(rng.choice((STICK, SNARE) if feel == "ballad" else (SNARE, SNARE, SNARE, CLAP))),
        kicks=_draw_kicks(rng, feel, bpm, meter),
        fill_every=int(rng.choice((0, 4, 4, 8))),
    )


def _draw_subdivision(rng: np.random.Generator, bpm: float) -> int:
    draw = bpm * float(np.exp(0.15 * rng.standard_normal()))
    return 4 if draw < 85 else 1 if draw > 165 else 2


def _draw_kicks(rng: np.random.Generator, feel: str, bpm: float, meter: int) -> tuple[float, ...]:
    if meter == 3:
        return ((0.0,), (0.0, 1.5), (0.0, 2.5))[int(rng.integers(3))]
    if feel == "four on the floor":
        return (0.0, 1.0, 2.0, 3.0)
    if feel == "swing":
        return (0.0, 1.0, 2.0, 3.0) if rng.random() < 0.4 else (0.0, 2.0)
    if feel == "funk" and bpm < 125:
        return ((0.0, 0.75, 2.5), (0.0, 1.5, 2.25), (0.0, 0.5, 2.75))[int(rng.integers(3))]
    if feel == "half-time":
        return ((0.0,), (0.0, 1.5), (0.0, 3.5), (0.0, 1.0, 3.0))[int(rng.integers(4))]
    if feel == "ballad":
        return ((0.0, 2.0), (0.0, 1.5, 2.0))[int(rng.integers(2))]
    return ((0.0, 2.0), (0.0, 2.0, 2.5), (0.0, 1.5, 2.0), (0.0, 2.0, 3.5), (0.0, 0.5, 2.0))[
        int(rng.integers(5))
    ]
