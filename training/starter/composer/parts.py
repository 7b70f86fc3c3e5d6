"""What the accompaniment plays: drums, bass, chords and pad, from the names of the ways to play them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.corpus.drums import CRASH, HIGH_TOM, KICK, LOW_TOM, MID_TOM, OPEN_HAT, RIDE, SHAKER, SNARE
from training.corpus.harmony import nearest, voiced
from training.starter.composer.tones import Chord, Tone

FOOT_HAT = 44


@dataclass(frozen=True, slots=True)
class Beat:
    """The drums of a song. `kicks` and `snares` are beats in a bar, `subdivision` the timekeeper's strokes in
    a beat; every `fill_every` bars there is a fill."""

    kicks: tuple[float, ...]
    snares: tuple[float, ...]
    snare_pitch: int
    timekeeper: int
    subdivision: int
    ghosts: float
    fill_every: int
    is_swung: bool


def drums(beat: Beat, bar: int, meter: int, rng: np.random.Generator, *, is_light: bool) -> Iterator[Tone]:
    """One bar; `is_light` without kick and snare."""
    first = bar * meter
    has_fill = not is_light and not beat.is_swung and (bar + 1) % beat.fill_every == 0
    end = meter - 1 if has_fill else meter
    for place, pitch, velocity in _bar(beat, bar, meter, rng, is_light=is_light):
        if place < end:
            yield Tone(first + place, 0.2, pitch, velocity)
    if has_fill:
        steps = int(rng.choice((2, 4)))
        for step in range(steps):
            pitch = (SNARE, HIGH_TOM, MID_TOM, LOW_TOM)[step * 4 // steps]
            yield Tone(first + end + step / steps, 0.2, pitch, 0.7 + 0.2 * step / steps)


def _bar(
    beat: Beat, bar: int, meter: int, rng: np.random.Generator, *, is_light: bool
) -> Iterator[tuple[float, int, float]]:
    if beat.is_swung:
        for count in range(meter):
            at = float(count)
            yield at, RIDE, 0.8
            if at % 2 == 1:
                yield at + 0.5, RIDE, 0.55
                yield at, FOOT_HAT, 0.6
    else:
        for stroke in range(meter * beat.subdivision):
            at = stroke / beat.subdivision
            pitch = beat.timekeeper
            if pitch == OPEN_HAT and at % 1 != 0.5:
                pitch = 42
            yield at, pitch, 0.75 if at == int(at) else 0.5 if pitch != SHAKER else 0.6
    if is_light:
        return
    if bar % beat.fill_every == 0:
        yield 0.0, CRASH, 0.7
    for at in beat.kicks:
        yield at, KICK, 0.95 if at == int(at) else 0.8
    for at in beat.snares:
        yield at, beat.snare_pitch, 0.9
    for at in (0.75, 1.75, 2.25, 3.75):
        if at < meter and rng.random() < beat.ghosts:
            yield at, beat.snare_pitch, 0.3


def bass(
    way: str, chords: Sequence[Chord], kicks: tuple[float, ...], meter: int, rng: np.random.Generator
) -> Iterator[Tone]:
    """Roots before all. Raises KeyError for an unknown way."""
    for index, chord in enumerate(chords):
        root = nearest(chord.pitch_classes[0], 38)
        fifth = root + (chord.pitch_classes[2] - chord.pitch_classes[0]) % 12
        after = chords[(index + 1) % len(chords)]
        bars = np.arange(0, chord.length, meter)
        if way == "walking":
            yield from _walk(chord, after, root, rng)
            continue
        if way == "kicks":
            at = [(float(bar + kick), root) for bar in bars for kick in (kicks or (0.0,))]
        elif way == "wholes":
            at = [(0.0, root)]
        elif way == "bossa":
            at = [
                (float(bar) + b, p)
                for bar in bars
                for b, p in ((0.0, root), (1.5, fifth), (2.0, fifth), (3.5, root))
            ]
        elif way == "syncopated":
            line = ((0.0, 0), (0.75, 0), (1.5, 12), (2.5, 0), (3.25, 7), (3.5, 12))
            at = [(float(bar) + b, root + up) for bar in bars for b, up in line]
        elif way == "octaves":
            at = [(step * 0.5, root + 12 * (step % 2)) for step in range(round(chord.length * 2))]
        elif way == "offbeats":
            at = [(step + 0.5, root) for step in range(round(chord.length))]
        elif way == "halves":
            at = [
                (float(b), root if b % meter == 0 else fifth)
                for b in np.arange(0, chord.length, 3 if meter == 3 else 2)
            ]
        else:
            step = {"quarters": 1.0, "eighths": 0.5, "sixteenths": 0.25}[way]
            at = [(float(b), root) for b in np.arange(0, chord.length, step)]
        at = [(b, pitch) for b, pitch in at if b < chord.length]
        ends = [*[b for b, _ in at[1:]], chord.length]
        for (b, pitch), end in zip(at, ends, strict=True):
            yield Tone(chord.beat + b, min(end - b, 4.0) * 0.9, pitch, 0.92 if b == 0 else 0.78)


def _walk(chord: Chord, after: Chord, root: int, rng: np.random.Generator) -> Iterator[Tone]:
    count = round(chord.length)
    for step in range(count):
        pitch = root
        if step == count - 1 and count > 1:
            pitch = nearest(after.pitch_classes[0], 40) + int(rng.choice((-1, 1)))
        elif step:
            pitch = nearest(int(rng.choice(chord.pitch_classes)), 41)
        yield Tone(chord.beat + step, 0.92, pitch, 0.85 if step else 0.92)


_ROUND = {  # beat in the bar, length
    "charleston": ((0.0, 0.8), (1.5, 0.5)),
    "stabs": ((0.0, 0.3), (0.75, 0.3), (1.5, 0.3), (3.0, 0.3)),
    "scratch": (
        (0.0, 0.2),
        (0.5, 0.2),
        (0.75, 0.2),
        (1.5, 0.2),
        (2.0, 0.2),
        (2.75, 0.2),
        (3.25, 0.2),
        (3.5, 0.2),
    ),
    "bossa": ((0.0, 0.9), (1.0, 0.4), (1.5, 0.9), (2.5, 0.4), (3.0, 0.4), (3.5, 0.4)),
    "strum": ((0.0, 0.9), (1.0, 0.4), (1.5, 0.4), (2.5, 0.4), (3.0, 0.4), (3.5, 0.4)),
}
_STEPS = {"quarters": (1.0, 0.85), "eighths": (0.5, 0.85), "halves": (2.0, 0.9), "power": (0.5, 0.9)}
_ARPEGGIOS = {"arpeggio": 0.5, "arpeggio16": 0.25, "alberti": 0.5, "travis": 0.5}


def comping(way: str, chords: Sequence[Chord], meter: int, around: float) -> Iterator[Tone]:
    """Chords in the position nearest to `around`. Raises KeyError for an unknown way."""
    for chord in chords:
        pitches = voiced(chord.pitch_classes, around)
        if way == "power":
            root = nearest(chord.pitch_classes[0], around - 9)
            pitches = (root, root + 7, root + 12)
        if way in _ARPEGGIOS:
            yield from _arpeggio(way, chord, pitches)
            continue
        for beat, length in _times(way, meter, chord.length):
            for pitch in pitches:
                yield Tone(chord.beat + beat, length, pitch, 0.85 if beat == 0 else 0.72)


def _arpeggio(way: str, chord: Chord, pitches: tuple[int, ...]) -> Iterator[Tone]:
    step = _ARPEGGIOS[way]
    low, *rest = pitches
    order = {
        "alberti": [low, rest[-1], rest[0], rest[-1]],
        "travis": [low - 12, rest[-1], low, rest[0]],
    }.get(way, [*pitches, *pitches[-2:0:-1]])
    for index in range(round(chord.length / step)):
        beat = index * step
        yield Tone(chord.beat + beat, step * 1.4, order[index % len(order)], 0.78 if beat % 1 == 0 else 0.66)


def _times(way: str, meter: int, length: float) -> Iterator[tuple[float, float]]:
    if way == "whole":
        yield 0.0, length * 0.97
    elif meter == 3:  # the first beat is the bass's
        yield from ((float(bar) + beat, 0.6) for bar in np.arange(0, length, 3) for beat in (1.0, 2.0))
    elif way == "offbeats":
        yield from ((step + 0.5, 0.4) for step in range(round(length)))
    elif way in _ROUND:
        for bar in np.arange(0, length, 4):
            yield from ((float(bar) + beat, long) for beat, long in _ROUND[way] if bar + beat < length)
    else:
        step, share = _STEPS[way]
        yield from ((float(beat), step * share) for beat in np.arange(0, length, step))


def pad(chords: Sequence[Chord]) -> Iterator[Tone]:
    for chord in chords:
        for pitch in voiced(chord.pitch_classes, 65):
            yield Tone(chord.beat, chord.length * 0.98, pitch, 0.6)
