"""Strings and choirs at a slow pulse: held chords with voice leading, borrowed chords, a line above."""

from __future__ import annotations

import numpy as np

from training.corpus.habits.sheet import DEV_FONTS, Sheet, Song

_QUALITIES = {"M": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "s": (0, 5, 7), "o": (0, 3, 6)}
_MAJOR = (
    "0M 9m 5M 7M",
    "0M 5m 0M 7s",
    "0M 4m 9m 5M",
    "0M 8M 10M 0M",
    "0M 7M 5M 0M",
    "0M 2m 77 0M",
    "0M 3M 5M 0M",
    "9m 5M 77 0M",
)
_MINOR = (
    "0m 8M 3M 10M",
    "0m 5m 7M 0m",
    "0m 10M 8M 7M",
    "0m 8M 5m 7M",
    "0m 3M 5M 0m",
    "0m 1M 7M 0m",
    "0m 5m 10M 3M 8M 2o 7M 0m",
    "0m 7m 8M 5m",
)


def compose(seed: int) -> Song:
    rng = np.random.default_rng((seed, 504))
    is_major = bool(rng.random() < 0.4)
    bpm = float(rng.uniform(54, 96))
    meter = 3 if rng.random() < 0.2 else 4
    sheet = Sheet(
        rng, bpm, meter, int(rng.integers(12)), is_major, jitter_s=0.01, sway=float(rng.choice((0.0, 0.015)))
    )
    written = [
        (int(text[:-1]), _QUALITIES[text[-1]])
        for text in str(rng.choice(_MAJOR if is_major else _MINOR)).split()
    ]
    length = meter if rng.random() < 0.6 else (2 if meter == 4 else 3)
    turns = max(1, round(22 * bpm / 60 / (length * len(written))))
    chords = written * turns
    programs = rng.choice((48, 49, 50, 52, 44, 19, 89), 2)
    ensemble = [sheet.part(f"voice {number}", int(programs[number % 2]), 95) for number in range(3)]
    low = sheet.part("low", int(rng.choice((42, 43, 48, 58))), 100)
    voices = [55 + (sheet.tonic - 55) % 12] * 3
    for number, (root, shape) in enumerate(chords):
        start = number * length
        tones = [(sheet.tonic + root + each) % 12 for each in shape]
        voices = [_next(voice + 3 * (index - 1), tones) for index, voice in enumerate(_near(voices))]
        for part, pitch in zip(ensemble, voices, strict=True):
            part.play(start, length * 0.98, pitch, 0.6)
        inverted = number % len(written) not in (0, len(written) - 1) and rng.random() < 0.2
        bass = 36 + (tones[1 if inverted else 0] - 36) % 12
        if rng.random() < 0.3 and length == 4:
            low.play(start, 1.9, bass, 0.7)
            low.play(start + 2, 1.9, bass, 0.6)
        else:
            low.play(start, length * 0.98, bass, 0.7)
    if rng.random() < 0.8:
        _line(sheet, rng, chords, length)
    if rng.random() < 0.35:
        _harp(sheet, rng, chords, length)
    tail_s = float(rng.choice((0.0, 0.0, 1.0)))
    return sheet.song(
        "slow strings", seed, font=str(rng.choice(DEV_FONTS)), beats=length * len(chords), tail_s=tail_s
    )


def _near(voices: list[int]) -> list[int]:
    center = round(sum(voices) / 3)
    return [int(np.clip(center, 58, 66))] * 3


def _next(pitch: int, tones: list[int]) -> int:
    return min((each for each in range(48, 82) if each % 12 in tones), key=lambda each: abs(each - pitch))


def _line(
    sheet: Sheet, rng: np.random.Generator, chords: list[tuple[int, tuple[int, ...]]], length: int
) -> None:
    """Quarters and halves: tones of the chord, with steps between."""
    part, pitch = sheet.part("line", int(rng.choice((40, 41, 42, 68, 71, 73, 60))), 100), 72
    for number, (root, shape) in enumerate(chords):
        tones = [(sheet.tonic + root + each) % 12 for each in shape]
        beat = 0.0
        while beat < length:
            note = float(rng.choice((1.0, 1.0, 2.0, 0.5)))
            target = _between(pitch + int(rng.integers(-4, 5)), tones)
            for passing in range(2 if note == 0.5 else 1):
                part.play(
                    number * length + beat + 0.5 * passing,
                    note * 0.97,
                    target if passing == 0 else target + 2 * int(rng.choice((-1, 1))),
                    0.7,
                )
            beat += max(1.0, note)
            pitch = target


def _between(pitch: int, tones: list[int]) -> int:
    return min((each for each in range(64, 88) if each % 12 in tones), key=lambda each: abs(each - pitch))


def _harp(
    sheet: Sheet, rng: np.random.Generator, chords: list[tuple[int, tuple[int, ...]]], length: int
) -> None:
    part, step = sheet.part("harp", int(rng.choice((46, 0, 11))), 80), float(rng.choice((0.5, 1.0)))
    for number, (root, shape) in enumerate(chords):
        base = 48 + (sheet.tonic + root - 48) % 12
        for index, beat in enumerate(np.arange(0, length, step)):
            part.play(number * length + float(beat), 1.5, base + (*shape[:3], 12)[index % 4], 0.55)
