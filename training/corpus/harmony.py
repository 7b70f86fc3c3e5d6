"""Keys, and chord progressions that leave no doubt about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "natural minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
"""Semitones over the tonic by the scale's name."""

# Scale degrees from 0, a chord each. All begin on the tonic and lead back to it.
PROGRESSIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "major": (
        (0, 4, 5, 3),
        (0, 3, 4, 0),
        (0, 5, 3, 4),
        (0, 3, 0, 4),
        (0, 5, 1, 4),
        (0, 2, 3, 4),
        (0, 0, 3, 4),
    ),
    "natural minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 3, 6, 0), (0, 5, 6, 0), (0, 0, 5, 6)),
    "harmonic minor": ((0, 3, 4, 0), (0, 5, 3, 4), (0, 5, 1, 4), (0, 0, 3, 4), (0, 3, 0, 4), (0, 4, 0, 4)),
}


@dataclass(frozen=True, slots=True)
class Key:
    """`tonic` is a pitch class (C is 0), `scale` one of `SCALES`."""

    tonic: int
    scale: str

    @property
    def is_major(self) -> bool:
        return self.scale == "major"

    @property
    def name(self) -> str:
        """As "F# minor": both minors have one name."""
        return f"{TONICS[self.tonic]} {'major' if self.is_major else 'minor'}"

    def pitch_class(self, degree: int) -> int:
        """Of a scale degree from 0; degrees go on over the octave."""
        scale = SCALES[self.scale]
        return (self.tonic + scale[degree % 7]) % 12

    def chord(self, degree: int, *, seventh: bool = False) -> tuple[int, ...]:
        """Pitch classes from the root up."""
        return tuple(self.pitch_class(degree + step) for step in ((0, 2, 4, 6) if seventh else (0, 2, 4)))

    def degrees(self, rng: np.random.Generator, count: int) -> tuple[int, ...]:
        """The degrees of `count` chords: one progression or two, in turns, four chords each."""
        choices = PROGRESSIONS[self.scale]
        first, second = (choices[int(index)] for index in rng.integers(len(choices), size=2))
        order = [first, first, second, first]
        return tuple(order[index // 4 % 4][index % 4] for index in range(count))


def voiced(chord: Sequence[int], around: float) -> tuple[int, ...]:
    """MIDI pitches of a chord in the position whose middle is nearest to `around`."""
    positions = []
    for turn in range(len(chord)):
        turned = [*chord[turn:], *chord[:turn]]
        pitches = [turned[0]]
        for pitch_class in turned[1:]:
            pitches.append(pitches[-1] + (pitch_class - pitches[-1]) % 12)
        octave = round((around - float(np.mean(pitches))) / 12)
        positions.append(tuple(pitch + 12 * octave for pitch in pitches))
    return min(positions, key=lambda pitches: abs(float(np.mean(pitches)) - around))


def nearest(pitch_class: int, around: float) -> int:
    """The MIDI pitch of this class that is nearest to `around`."""
    return pitch_class + 12 * round((around - pitch_class) / 12)
