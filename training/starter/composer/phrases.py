"""Melodies of phrases: a motif of a bar or two is stated, varied, answered and stated again.

A phrase is four bars. Its motifs are rhythms with a contour in steps of the scale, laid over whatever chords there
are: strokes on strong beats are drawn to tones of the chord, so that the same motif fits every chord.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.corpus.harmony import Key
from training.starter.composer.tones import Chord, Tone

PHRASE_BARS = 4
FORMS = ("aaba", "abac", "aabc", "abab")
"""Which motif each bar of a phrase has."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """`beat` in the bar, `step` of the scale from the motif's first tone."""

    beat: float
    length: float
    step: int


Motif = tuple[Stroke, ...]


@dataclass(frozen=True, slots=True)
class Theme:
    """`motifs` by the letter of the form."""

    form: str
    motifs: dict[str, Motif]


def draw_theme(rng: np.random.Generator, meter: int, density: float, *, straight: bool) -> Theme:
    """`density` is notes per beat; where it is not `straight` the finest note is an eighth."""
    form = FORMS[int(rng.integers(len(FORMS)))]
    letters = sorted(set(form))
    return Theme(form, {letter: _motif(rng, meter, density, straight=straight) for letter in letters})


def play_theme(
    theme: Theme,
    chords: Sequence[Chord],
    key: Key,
    bars: range,
    meter: int,
    around: float,
    rng: np.random.Generator,
) -> Iterator[Tone]:
    """The theme over these bars; now and then a stroke is left out, split or moved by a step."""
    ladder = [pitch for pitch in range(24, 108) if pitch % 12 in {key.pitch_class(d) for d in range(7)}]
    home = min(range(len(ladder)), key=lambda place: abs(ladder[place] - around))
    for bar in bars:
        within = (bar - bars.start) % PHRASE_BARS
        letter = theme.form[within]
        is_last = within == PHRASE_BARS - 1
        for stroke in theme.motifs[letter]:
            if is_last and stroke.beat > meter / 2:
                continue
            beat = bar * meter + stroke.beat
            chord = _at(chords, beat)
            pitch = ladder[int(np.clip(home + stroke.step, 0, len(ladder) - 1))]
            is_strong = stroke.beat in (0.0, meter / 2) or stroke.length >= 1.5
            if is_strong:
                pitch = _tone_of(chord, pitch)
            length = stroke.length
            if is_last and stroke.beat == theme.motifs[letter][0].beat:
                length = meter / 2
            draw = rng.random()
            if draw < 0.04 and not is_strong:
                continue
            if draw > 0.96 and length >= 1.0:
                yield Tone(beat, length / 2 * 0.93, pitch, 0.8)
                beat, length = beat + length / 2, length / 2
            yield Tone(beat, length * 0.94, pitch, 0.92 if stroke.beat == 0 else 0.8)


def _motif(rng: np.random.Generator, meter: int, density: float, *, straight: bool) -> Motif:
    grid = 0.25 if straight and density > 1.2 else 0.5
    slots = round(meter / grid)
    wanted = max(1, round(density * meter * float(rng.uniform(0.8, 1.2))))
    weights = np.array([_weight(slot * grid, meter) for slot in range(slots)])
    count = min(wanted, slots)
    places = np.sort(rng.choice(slots, size=count, replace=False, p=weights / weights.sum()))
    beats = [float(place) * grid for place in places]
    contour = _contour(rng, count)
    ends = [*beats[1:], float(meter)]
    return tuple(
        Stroke(beat, min(end - beat, 2.0 if density > 0.6 else float(meter)), step)
        for beat, end, step in zip(beats, ends, contour, strict=True)
    )


def _weight(beat: float, meter: int) -> float:
    if beat == 0:
        return 4.0
    if beat == int(beat):
        return 2.0
    return 1.4 if beat % 0.5 == 0 else 0.5


def _contour(rng: np.random.Generator, count: int) -> list[int]:
    shape = str(rng.choice(("arch", "fall", "rise", "turn")))
    share = np.linspace(0, 1, count)
    reach = float(rng.uniform(2, 5))
    line = {
        "arch": np.sin(np.pi * share) * reach,
        "fall": (1 - share) * reach,
        "rise": share * reach,
        "turn": np.sin(2 * np.pi * share) * reach / 2,
    }[shape]
    noise = rng.integers(-1, 2, size=count)
    return [int(step) for step in np.round(line + noise + rng.integers(-2, 2))]


def _at(chords: Sequence[Chord], beat: float) -> Chord:
    index = int(np.searchsorted([chord.beat for chord in chords], beat, side="right")) - 1
    return chords[max(0, index)]


def _tone_of(chord: Chord, pitch: int) -> int:
    near = [other for other in range(pitch - 6, pitch + 7) if other % 12 in chord.pitch_classes[:3]]
    return min(near, key=lambda other: abs(other - pitch))
