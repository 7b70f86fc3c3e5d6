"""Tones and chords in beats, before anybody plays them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Tone(NamedTuple):
    """`beat` from the song's beginning and `length` in beats; `velocity` is 0..1."""

    beat: float
    length: float
    pitch: int
    velocity: float


@dataclass(frozen=True, slots=True)
class Chord:
    """`pitch_classes` from the root up, for `length` beats from `beat` on."""

    beat: float
    length: float
    degree: int
    pitch_classes: tuple[int, ...]
