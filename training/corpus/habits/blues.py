"""Twelve bars of blues and rock: sevenths on every chord, or minor; shuffled or straight; a blue-note lead."""

from __future__ import annotations

import numpy as np

from training.corpus.habits.sheet import DEV_FONTS, Sheet, Song, log_uniform

_MAJOR_FORMS = (
    "1 1 1 1 4 4 1 1 5 4 1 5",
    "1 4 1 1 4 4 1 1 5 4 1 1",
    "1 1 4 4 1 1 5 1",
    "1 1 1 1 4 4 1 1 2 5 1 5",
)
_MINOR_FORMS = ("1 1 1 1 4 4 1 1 6 5 1 1", "1 4 1 1 4 4 1 1 6 5 1 5", "1 1 4 1 5 4 1 1")
_ROOT = {"1": 0, "2": 2, "4": 5, "5": 7, "6": 8}


def compose(seed: int) -> Song:
    rng = np.random.default_rng((seed, 506))
    minor = rng.random() < 0.4
    shuffle = rng.random() < 0.6
    bpm = log_uniform(rng, 72, 168)
    sheet = Sheet(
        rng, bpm, 4, int(rng.integers(12)), not minor, swing=0.66 if shuffle else 0.5, jitter_s=0.007
    )
    form = str(rng.choice(_MINOR_FORMS if minor else _MAJOR_FORMS)).split()
    first = int(rng.choice((0, 0, 0, 4, 8))) % len(form)
    bars = max(6, round(20 * bpm / 240))
    bass, comp = (
        sheet.part("bass", int(rng.choice((32, 33, 34))), 108),
        sheet.part("comp", int(rng.choice((0, 16, 26, 27, 29))), 85),
    )
    walk = str(rng.choice(("walk", "boogie", "root")))
    drums = sheet.drums() if rng.random() < 0.85 else None
    for bar in range(bars):
        name = form[(first + bar) % len(form)]
        root = sheet.tonic + _ROOT[name]
        third = 3 if (minor and name in "14") or name == "2" else 4
        low = 33 + (root - 33) % 12
        line = {
            "walk": (0, third, 7, 9 if third == 4 else 10),
            "boogie": (0, 0, 7, 7, 9, 9, 7, 7),
            "root": (0, 0, 0, 0),
        }[walk]
        step = 4 / len(line)
        for place, above in enumerate(line):
            bass.play(4 * bar + place * step, step * 0.85, low + above, 0.85 if place == 0 else 0.7)
        notes = [52 + (root + each - 52) % 12 for each in (0, third, 7, 10)]
        hits = ((0.0, 1.5), (1.0, 3.0), (0.0, 2.0), (0.5, 1.5, 2.5, 3.5))[seed % 4]
        for beat in hits:
            comp.chord(4 * bar + beat, 0.7, notes, 0.6)
        if drums is not None:
            for beat in range(4):
                drums.play(4 * bar + beat, 0.1, 51 if shuffle else 42, 0.7)
                if not shuffle or beat % 2:
                    drums.play(4 * bar + beat + 0.5, 0.1, 51 if shuffle else 42, 0.5)
                drums.play(4 * bar + beat, 0.1, 38 if beat % 2 else 36, 0.8)
    if rng.random() < 0.8:
        lead = sheet.part("lead", int(rng.choice((22, 27, 29, 30, 66, 56))), 95)
        scale = (0, 3, 5, 6, 7, 10)
        place = 4
        for phrase in range(0, 4 * bars, 8):
            beat = float(phrase)
            while beat < min(phrase + 6, 4 * bars):
                length = float(rng.choice((0.5, 0.5, 1.0)))
                place = int(np.clip(place + rng.integers(-2, 3), 0, 8))
                pitch = 60 + sheet.tonic + 12 * (place // 6) + scale[place % 6]
                is_last = beat + length >= phrase + 6
                lead.play(
                    beat,
                    1.5 if is_last else length * 0.9,
                    60 + sheet.tonic + (0 if place < 4 else 12) if is_last else pitch,
                    0.8,
                )
                beat += length
    return sheet.song("blues", seed, font=str(rng.choice(DEV_FONTS)), beats=4 * bars)
