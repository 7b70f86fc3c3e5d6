"""Periods of eight bars, a half cadence and a full one, with inversions, an Alberti bass or chords, and a theme."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from training.corpus.habits.sheet import DEV_FONTS, Sheet, Song, log_uniform


class Harmony(NamedTuple):
    root: int
    shape: tuple[int, ...]
    inversion: int


def _grammar(rng: np.random.Generator, is_major: bool) -> list[Harmony]:
    """Tonic, predominant, dominant: the usual way through a phrase, then its cadence."""
    third = 4 if is_major else 3
    tonic = (0, third, 7)
    dominant = (0, 4, 7, 10) if rng.random() < 0.5 else (0, 4, 7)
    subdominant = Harmony(5, (0, third, 7), 0)
    supertonic = Harmony(2, (0, 3, 7 if is_major else 6), 1)
    submediant = Harmony(9 if is_major else 8, (0, 3 if is_major else 4, 7), 0)
    one, six = Harmony(0, tonic, 0), Harmony(0, tonic, 1)
    five, seven = Harmony(7, dominant, 0), Harmony(7, dominant, 1)
    openings = (
        [one, seven, one, six],
        [one, five, one, subdominant],
        [one, one, submediant, subdominant],
        [one, six, subdominant, six],
    )
    first = list(openings[int(rng.integers(4))])
    second = list(openings[int(rng.integers(4))])
    half = [[supertonic, five], [subdominant, five], [six, five]][int(rng.integers(3))]
    full = [[supertonic, five], [subdominant, five], [Harmony(0, tonic, 2), five]][int(rng.integers(3))]
    return (
        [*first[:2], *half, *second[:2], full[0], full[1], one]
        if rng.random() < 0.5
        else [*first, *half, *second, *full, one]
    )


def compose(seed: int) -> Song:
    rng = np.random.default_rng((seed, 505))
    is_major = bool(rng.random() < 0.55)
    meter = 3 if rng.random() < 0.35 else 4
    bpm = log_uniform(rng, 62, 150)
    sheet = Sheet(
        rng, bpm, meter, int(rng.integers(12)), is_major, jitter_s=0.006, sway=float(rng.choice((0.0, 0.03)))
    )
    length = meter if meter == 3 or rng.random() < 0.5 else 2
    harmonies: list[Harmony] = []
    while len(harmonies) * length < 18 * bpm / 60:
        harmonies += _grammar(rng, is_major)
    left = sheet.part("left", program := int(rng.choice((0, 6, 0, 46, 48, 24))), 90)
    right = sheet.part("right", program if program in (0, 6) else int(rng.choice((40, 68, 71, 73))), 100)
    texture = str(rng.choice(("alberti", "blocks", "waltz" if meter == 3 else "alberti", "halves")))
    scale = (0, 2, 4, 5, 7, 9, 11) if is_major else (0, 2, 3, 5, 7, 8, 11)
    theme = 72
    for number, harmony in enumerate(harmonies):
        start = number * length
        tones = [(sheet.tonic + harmony.root + each) % 12 for each in harmony.shape]
        bass = 41 + (tones[harmony.inversion % len(tones)] - 41) % 12
        uppers = sorted(52 + (tone - 52) % 12 for tone in tones)
        is_final = number == len(harmonies) - 1
        if is_final or texture == "blocks":
            left.chord(start, length * 0.9, [bass - 12 if bass > 47 else bass, *uppers], 0.65)
        elif texture == "alberti":
            order = [bass, uppers[-1], uppers[len(uppers) // 2], uppers[-1]]
            for step in range(2 * length):
                left.play(start + step / 2, 0.5, order[step % 4], 0.6)
        elif texture == "waltz":
            left.play(start, 0.9, bass, 0.7)
            for beat in range(1, length):
                left.chord(start + beat, 0.7, uppers, 0.5)
        else:
            left.play(start, length, bass, 0.65)
            left.chord(start + length / 2, length / 2, uppers, 0.5)
        at = 0.0
        while at < length:
            if is_final:
                right.play(start, length * 0.95, 60 + (sheet.tonic - 60) % 12 + 12, 0.75)
                break
            note = (
                float(rng.choice((0.5, 0.5, 1.0, 1.0, 0.25)))
                if bpm < 110
                else float(rng.choice((0.5, 1.0, 1.0)))
            )
            wanted = tones if at == 0 else [(sheet.tonic + each) % 12 for each in scale]
            around = theme + int(rng.integers(-3, 4))
            theme = min((p for p in range(64, 88) if p % 12 in wanted), key=lambda p: abs(p - around))
            right.play(start + at, min(note, length - at) * 0.95, theme, 0.7)
            at += note
    is_cut = rng.random() < 0.35
    beats = len(harmonies) * length - (float(rng.uniform(1, 2 * length)) if is_cut else 0.0)
    return sheet.song("classical periods", seed, font=str(rng.choice(DEV_FONTS)), beats=beats)
