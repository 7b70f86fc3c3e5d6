"""Tunes over strummed and picked strings, without a kick: phrases of four bars that close on the tonic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.corpus.habits.sheet import DEV_FONTS, Part, Sheet, Song, log_uniform

# A chord a bar, four bars a phrase; the second phrase of each pair closes.
_MAJOR = (
    ("I I IV I", "I V V I"),
    ("I IV I V", "I IV V I"),
    ("I vi IV V", "I vi V I"),
    ("I V vi IV", "I V I I"),
)
_MINOR = (
    ("i i VII VII", "i VII v i"),
    ("i VI VII i", "i VI VII i"),
    ("i VII VI VII", "i VII v i"),
    ("i III VII i", "VI VII i i"),
)
_ROOTS = {"I": 0, "II": 2, "III": 3, "IV": 5, "V": 7, "VI": 8, "VII": 10}
_MAJOR_ROOTS = {"vi": 9}


def _chords(text: str) -> Iterator[tuple[int, bool]]:
    for name in text.split():
        yield _MAJOR_ROOTS.get(name, _ROOTS[name.upper()]), name.isupper()


def compose(seed: int) -> Song:
    rng = np.random.default_rng((seed, 503))
    is_major = rng.random() < 0.5
    meter = 3 if rng.random() < 0.3 else 4
    bpm = log_uniform(rng, 78, 176)
    sheet = Sheet(
        rng,
        bpm,
        meter,
        int(rng.integers(12)),
        bool(is_major),
        jitter_s=float(rng.uniform(0, 0.012)),
        sway=float(rng.choice((0, 0, 0.02))),
    )
    form = (_MAJOR if is_major else _MINOR)[int(rng.integers(4))]
    phrases = max(2, round(20 * bpm / 60 / (4 * meter)))
    harmony = [chord for number in range(phrases) for chord in _chords(form[number % 2])]
    strings = sheet.part("strings", int(rng.choice((24, 25, 105, 46, 15, 27))), 100)
    style = str(rng.choice(("boom chuck", "picked", "strummed", "picked in eighths")))
    for bar, (root, has_major_third) in enumerate(harmony):
        _accompany(strings, style, bar * meter, meter, sheet.tonic + root, has_major_third)
    if rng.random() < 0.3:
        bass = sheet.part("double bass", 32, 90)
        for bar, (root, _) in enumerate(harmony):
            low = 36 + (sheet.tonic + root - 36) % 12
            bass.play(bar * meter, meter * 0.45, low, 0.7)
            if meter == 4:
                bass.play(bar * meter + 2, 1.6, low + 7 if low < 41 else low - 5, 0.6)
    if rng.random() < 0.85:
        _tune(sheet, rng, harmony)
    if rng.random() < 0.2:
        shaker = sheet.drums()
        for half in range(2 * meter * len(harmony)):
            shaker.play(half / 2, 0.1, 70 if half % 2 else 54, 0.5 if half % 2 else 0.6)
    has_pickup = rng.random() < 0.4
    return sheet.song(
        "folk tunes",
        seed,
        font=str(rng.choice(DEV_FONTS)),
        beats=len(harmony) * meter,
        lead_beats=meter - 1 if has_pickup else 0,
    )


def _accompany(part: Part, style: str, start: int, meter: int, root: int, has_major_third: bool) -> None:
    low = 40 + (root - 40) % 12
    third = 4 if has_major_third else 3
    upper = [low + 12, low + 12 + third, low + 19]
    match style:
        case "boom chuck":
            for beat in range(meter):
                if beat == 0 or (meter == 4 and beat == 2):
                    part.play(start + beat, 0.9, low if beat == 0 else low + 7, 0.8)
                else:
                    part.chord(start + beat, 0.5, upper, 0.6)
        case "strummed":
            pattern = (0.0, 1.0, 1.5, 2.5, 3.0, 3.5) if meter == 4 else (0.0, 1.0, 1.5, 2.0, 2.5)
            for at in pattern:
                part.chord(start + at, 0.5, [low, *upper], 0.75 if at == 0 else 0.55)
        case _:
            step = 0.5 if style == "picked in eighths" or meter == 3 else 1.0
            order = [low, upper[1], upper[2], upper[0], low + 7, upper[2], upper[1], upper[0]]
            for number, at in enumerate(np.arange(0, meter, step)):
                part.play(start + float(at), 1.2, order[number % 8], 0.75 if number == 0 else 0.6)


def _tune(sheet: Sheet, rng: np.random.Generator, harmony: list[tuple[int, bool]]) -> None:
    part = sheet.part("tune", int(rng.choice((21, 22, 40, 73, 74, 109, 110, 72))), 100)
    scale = [0, 2, 4, 7, 9] if sheet.is_major else [0, 3, 5, 7, 10]
    if rng.random() < 0.6:
        scale = [0, 2, 4, 5, 7, 9, 11] if sheet.is_major else [0, 2, 3, 5, 7, 8, 10]
    ladder = [p for p in range(60, 86) if (p - sheet.tonic) % 12 in scale]
    place = len(ladder) // 2
    for bar, (root, has_major_third) in enumerate(harmony):
        is_close = bar % 8 == 7 or bar == len(harmony) - 1
        tones = [(sheet.tonic + root + each) % 12 for each in (0, 4 if has_major_third else 3, 7)]
        if is_close:
            final = min(
                (p for p in range(62, 80) if p % 12 == sheet.tonic), key=lambda p: abs(p - ladder[place])
            )
            part.play(bar * sheet.meter, sheet.meter * 0.9, final, 0.75)
            continue
        beat = 0.0
        while beat < sheet.meter:
            length = (
                float(rng.choice((0.5, 0.5, 1.0, 1.0, 2.0)))
                if sheet.bpm < 140
                else float(rng.choice((1.0, 1.0, 2.0)))
            )
            place = int(np.clip(place + rng.integers(-2, 3), 0, len(ladder) - 1))
            pitch = ladder[place]
            if beat == 0:
                pitch = min((p for p in range(60, 86) if p % 12 in tones), key=lambda p: abs(p - pitch))
            part.play(bar * sheet.meter + beat, min(length, sheet.meter - beat) * 0.9, pitch, 0.75)
            beat += length
