"""House and techno by a machine: four on the floor, bass between the kicks, minor sevenths in stabs and pads."""

from __future__ import annotations

import numpy as np

from training.corpus.habits.sheet import DEV_FONTS, Sheet, Song

M7, MA7, MINOR, MAJOR, DOM = (0, 3, 7, 10), (0, 4, 7, 11), (0, 3, 7), (0, 4, 7), (0, 4, 7, 10)
_CYCLES: dict[bool, list[list[tuple[int, tuple[int, ...]]]]] = {
    False: [
        [(0, M7)],
        [(0, M7), (10, MAJOR)],
        [(0, MINOR), (8, MAJOR), (10, MAJOR), (0, MINOR)],
        [(8, MA7), (10, MAJOR), (0, M7), (0, M7)],
        [(0, M7), (5, M7)],
        [(0, MINOR), (3, MAJOR), (8, MAJOR), (10, MAJOR)],
        [(0, M7), (8, MA7), (5, M7), (7, M7)],
        [(0, MINOR), (10, MAJOR), (8, MAJOR), (8, MAJOR)],
    ],
    True: [[(0, MA7), (9, M7)],
        [(0, MAJOR), (5, MAJOR)],
        [(2, M7), (7, DOM), (0, MA7), (9, M7)],
        [(0, MAJOR), (7, MAJOR), (9, MINOR), (5, MAJOR)],
        [(5, MA7), (4, M7), (2, M7), (0, MA7)]],
}  # fmt: skip


def compose(seed: int) -> Song:
    rng = np.random.default_rng((seed, 507))
    is_major = bool(rng.random() < 0.35)
    cycle = _CYCLES[is_major][int(rng.integers(len(_CYCLES[is_major])))]
    bpm = float(rng.choice(np.arange(112, 141)))
    sheet = Sheet(rng, bpm, 4, int(rng.integers(12)), is_major)
    per_chord = int(rng.choice((4, 4, 8)))
    count = max(1, round(18 * bpm / 60 / (per_chord * len(cycle)))) * len(cycle)
    total = count * per_chord
    kick = sheet.drums(int(rng.choice((24, 25, 0))), 110)
    intro = int(rng.choice((0, 0, 0, 8)))  # beats before the kick
    for beat in range(total):
        if beat >= intro:
            kick.play(beat, 0.1, 36, 1.0)
        kick.play(beat + 0.5, 0.1, 46, 0.6)
        if beat % 2:
            kick.play(beat, 0.1, 39, 0.8)
        if seed % 2:
            kick.play(beat + 0.25, 0.1, 42, 0.35)
            kick.play(beat + 0.75, 0.1, 42, 0.35)
    bass, stab = (
        sheet.part("bass", int(rng.choice((38, 39, 87))), 110),
        sheet.part("stab", int(rng.choice((5, 16, 62, 81, 90))), 80),
    )
    pad = sheet.part("pad", int(rng.choice((89, 90, 94, 95))), 70)
    bass_line = (
        [(0.5, 0), (1.5, 0), (2.5, 0), (3.5, 0)]
        if rng.random() < 0.4
        else [(0.0, 0), (0.75, 0), (1.5, 12), (2.5, 0), (3.25, 7)]
    )
    stabs = ((0.0, 0.75, 1.5), (0.5, 1.5, 2.5, 3.5), (0.0, 1.5, 3.0), (0.25, 1.0, 2.75))[int(rng.integers(4))]
    riff = [
        (float(beat), int(rng.choice((0, 0, 3 if not is_major else 4, 7, 10 if not is_major else 9, 12))))
        for beat in np.arange(0, 8, 0.5)
        if rng.random() < 0.45
    ]
    lead = sheet.part("lead", int(rng.choice((80, 81, 84, 11))), 85) if rng.random() < 0.6 else None
    for number in range(count):
        root, shape = cycle[number % len(cycle)]
        tones = [57 + (sheet.tonic + root + each - 57) % 12 for each in shape]
        pad.chord(number * per_chord, per_chord, tones, 0.5)
        for bar in range(per_chord // 4):
            start = number * per_chord + 4 * bar
            for at, above in bass_line:
                bass.play(start + at, 0.4, 33 + (sheet.tonic + root - 33) % 12 + above, 0.9)
            for at in stabs:
                stab.chord(start + at, 0.3, tones, 0.7)
    if lead is not None:
        for turn in range(total // 8):
            for at, above in riff:
                lead.play(8 * turn + at, 0.4, 69 + (sheet.tonic - 69) % 12 + above, 0.7)
    return sheet.song("house", seed, font=str(rng.choice(DEV_FONTS)), beats=total)
