"""Vamps of one to three chords in dorian, mixolydian, aeolian and phrygian, over a riff or a pedal in the bass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.corpus.habits.sheet import DEV_FONTS, Sheet, Song, log_uniform


@dataclass(frozen=True)
class Mode:
    is_major: bool
    steps: tuple[int, ...]
    vamps: tuple[tuple[int, ...], ...]  # degrees, a bar each


_MODES = (
    Mode(False, (0, 2, 3, 5, 7, 9, 10), ((0, 3), (0, 0, 3, 3), (0, 1), (0, 6, 3, 0), (0, 3, 0, 6))),
    Mode(True, (0, 2, 4, 5, 7, 9, 10), ((0, 6, 3, 0), (0, 6), (0, 4, 3, 0), (0, 0, 6, 3), (0, 6, 3, 3))),
    Mode(False, (0, 2, 3, 5, 7, 8, 10), ((0, 6), (0, 0, 5, 6), (0, 3), (0, 4, 0, 6), (0, 0, 0, 6))),
    Mode(False, (0, 1, 3, 5, 7, 8, 10), ((0, 1), (0, 1, 2, 1), (0, 0, 6, 0))),
    Mode(True, (0, 2, 4, 6, 7, 9, 11), ((0, 1), (0, 0, 1, 1))),
)


class Vamp:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = np.random.default_rng((seed, 502))
        self.mode = _MODES[int(rng.choice(5, p=(0.3, 0.3, 0.25, 0.08, 0.07)))]
        self.vamp = self.mode.vamps[int(rng.integers(len(self.mode.vamps)))]
        swing = 0.62 if rng.random() < 0.2 else 0.5
        self.sheet = Sheet(
            rng,
            log_uniform(rng, 76, 140),
            4,
            int(rng.integers(12)),
            self.mode.is_major,
            swing=swing,
            jitter_s=0.006,
        )
        self.bars = len(self.vamp) * max(1, round(20 * self.sheet.bpm / 240 / len(self.vamp)))

    def pitch(self, degree: int, octave: int) -> int:
        """Of a degree of the mode, from the tonic in the given octave on."""
        return 12 * octave + self.sheet.tonic + 12 * (degree // 7) + self.mode.steps[degree % 7]

    def bass(self) -> None:
        rng, part = self.rng, self.sheet.part("bass", int(self.rng.choice((32, 33, 36, 38))), 108)
        riff = [(0.0, 0), (1.5, 0), (2.0, 4), (3.0, 7), (3.5, 6)]
        chosen = [riff[0], *(each for each in riff[1:] if rng.random() < 0.6)]
        is_pedal = rng.random() < 0.3
        for bar in range(self.bars):
            root = 0 if is_pedal else self.vamp[bar % len(self.vamp)]
            for (beat, degree), after in zip(chosen, [*chosen[1:], (4.0, 0)], strict=True):
                part.play(
                    4 * bar + beat, 0.8 * (after[0] - beat), self.pitch(root + (degree % 7), 3) - 12, 0.85
                )

    def stabs(self) -> None:
        rng = self.rng
        part = self.sheet.part("stabs", int(rng.choice((4, 7, 16, 17, 26, 28))), 85)
        rhythm = ((0.0, 1.5), (0.5, 2.0, 3.5), (0.0, 2.0), (0.0,), (1.0, 3.0))[int(rng.integers(5))]
        has_seventh = rng.random() < 0.5
        for bar in range(self.bars):
            root = self.vamp[bar % len(self.vamp)]
            tones = [self.pitch(root + step, 5) for step in ((0, 2, 4, 6) if has_seventh else (0, 2, 4))]
            for beat in rhythm:
                length = 3.6 if len(rhythm) == 1 else 0.6
                part.chord(4 * bar + beat, length, [tone - 12 if tone > 73 else tone for tone in tones], 0.65)

    def solo(self) -> None:
        rng = self.rng
        part = self.sheet.part("solo", int(rng.choice((11, 56, 66, 73, 27, 81))), 95)
        degree = 7
        for bar in range(self.bars):
            beat = 0.0
            while beat < 4:
                length = float(rng.choice((0.5, 0.5, 1.0, 1.5)))
                degree = int(np.clip(degree + rng.integers(-2, 3), 3, 13))
                is_last = beat + length >= 4 and bar % 4 == 3
                sounding = (7 if degree < 10 else 14) if is_last else degree
                if rng.random() < 0.75 or is_last:
                    part.play(4 * bar + beat, length * 0.9, self.pitch(sounding, 5), 0.75)
                beat += length

    def groove(self) -> None:
        part, rng = self.sheet.drums(int(self.rng.choice((0, 16, 32)))), self.rng
        kicks = ((0.0, 2.5), (0.0, 0.75, 2.5), (0.0, 1.75, 2.0))[int(rng.integers(3))]
        for bar in range(self.bars):
            for kick in kicks:
                part.play(4 * bar + kick, 0.1, 36, 0.85)
            for beat in range(4):
                part.play(4 * bar + beat, 0.1, 51, 0.6)
                part.play(4 * bar + beat + 0.5, 0.1, 42, 0.5)
            for beat in (1, 3):
                part.play(4 * bar + beat, 0.1, 38, 0.8)


def compose(seed: int) -> Song:
    vamp = Vamp(seed)
    vamp.bass()
    vamp.stabs()
    if vamp.rng.random() < 0.7:
        vamp.solo()
    if vamp.rng.random() < 0.75:
        vamp.groove()
    lead = float(vamp.rng.choice((0, 0, 1, 2, 3.5)))
    font = str(vamp.rng.choice(DEV_FONTS))
    return vamp.sheet.song("modal vamps", seed, font=font, beats=4 * vamp.bars, lead_beats=lead)
