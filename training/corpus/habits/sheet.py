"""The paper that composers write on: notes in beats, which become voices in seconds with what is true of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from training.corpus.harmony import TONICS
from training.corpus.midi import DRUM_CHANNEL, Note, Voice
from training.corpus.music import Truth

DEV_FONTS = ("FluidR3_GM.sf2", "TimGM6mb.sf2")
"""What the composers for development are played by."""


@dataclass(frozen=True, slots=True)
class Song:
    """`voices` are in seconds from the song's beginning, `lead_s` before that of the clip; `font` is the file name
    of the sound font that it is played by."""

    habit: str
    seed: int
    font: str
    duration_s: float
    lead_s: float
    tuning_cents: float
    voices: tuple[Voice, ...]
    truth: Truth


@dataclass(frozen=True, slots=True)
class Part:
    program: int
    gain: int
    is_drums: bool = False
    notes: list[tuple[float, float, int, float]] = field(default_factory=list)

    def play(self, beat: float, length: float, pitch: int, velocity: float = 0.7) -> None:
        """A note of `length` beats; `velocity` 0..1."""
        self.notes.append((beat, length, pitch, velocity))

    def chord(self, beat: float, length: float, pitches: Iterable[int], velocity: float = 0.7) -> None:
        for pitch in pitches:
            self.play(beat, length, pitch, velocity)


@dataclass(slots=True)
class Sheet:
    """Music at `bpm` beats a minute, `meter` beats to the bar, with the pitch class `tonic` (C is 0) as its tonic;
    `is_major` says whether its third is major, whatever the mode.

    `swing` is where an eighth falls in its beat, `sway` the tempo's largest deviation as a share, `jitter_s` how
    uneven the players are.
    """

    rng: np.random.Generator
    bpm: float
    meter: int
    tonic: int
    is_major: bool
    swing: float = 0.5
    sway: float = 0.0
    jitter_s: float = 0.0
    parts: dict[str, Part] = field(default_factory=dict)

    def part(self, name: str, program: int, gain: int = 95) -> Part:
        return self.parts.setdefault(name, Part(program, gain))

    def drums(self, kit: int = 0, gain: int = 100) -> Part:
        return self.parts.setdefault("drums", Part(kit, gain, is_drums=True))

    def song(
        self,
        habit: str,
        seed: int,
        *,
        font: str,
        beats: float,
        lead_beats: float = 0.0,
        tail_s: float = 0.0,
        tuning_cents: float = 0.0,
    ) -> Song:
        """The clip from `lead_beats` to `beats`, and `tail_s` more."""
        grid = np.arange(math.ceil(beats + tail_s * self.bpm / 60 * (1 + self.sway)) + 2)
        turns = self.rng.uniform(0.5, 1.5) * grid / len(grid) + self.rng.random()
        pace = 1 + self.sway * np.sin(2 * np.pi * turns)
        grid_s = np.concatenate([[0.0], np.cumsum(60 / (self.bpm * pace))[:-1]])

        def at(beat: float) -> float:
            whole = math.floor(beat)
            half = beat - whole
            swung = 2 * self.swing * half if half < 0.5 else self.swing + (half - 0.5) * 2 * (1 - self.swing)
            return float(np.interp(whole + swung, grid, grid_s))

        lead_s = at(lead_beats)
        duration_s = at(beats) + tail_s - lead_s
        beats_s = grid_s - lead_s
        # Nobody taps on after the last bar.
        heard = (beats_s >= -1e-6) & (grid < beats) & (beats_s < duration_s)
        within = beats_s[heard]
        return Song(
            habit=habit,
            seed=seed,
            font=font,
            duration_s=duration_s,
            lead_s=lead_s,
            tuning_cents=tuning_cents,
            voices=tuple(self._voices(at)),
            truth=Truth(
                bpm=60 / float(np.median(np.diff(within))),
                is_steady=self.sway == 0,
                meter=self.meter,
                beats_s=tuple(within.tolist()),
                downbeats_s=tuple(beats_s[heard & (grid % self.meter == 0)].tolist()),
                key=f"{TONICS[self.tonic]} {'major' if self.is_major else 'minor'}",
                tuning_cents=tuning_cents,
                melody_f0_hz=(),
            ),
        )

    def _voices(self, at: Callable[[float], float]) -> Iterable[Voice]:
        channels = iter(channel for channel in range(16) if channel != DRUM_CHANNEL)
        for name, part in self.parts.items():
            channel = DRUM_CHANNEL if part.is_drums else next(channels)
            notes = []
            for beat, length, pitch, velocity in part.notes:
                late_s = float(np.clip(self.rng.standard_normal(), -2, 2)) * self.jitter_s
                start_s = max(0.0, at(beat) + late_s)
                end_s = max(start_s + 0.03, at(beat + length))
                notes.append(Note(start_s, end_s, pitch, int(np.clip(round(127 * velocity), 1, 127))))
            yield Voice(name, channel, part.program, tuple(notes), gain=part.gain)


def at_or_above(pitch_class: int, low: int) -> int:
    """The lowest MIDI pitch of this class that is not under `low`."""
    return low + (pitch_class - low) % 12


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
