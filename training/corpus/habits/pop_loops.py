"""Four-chord loops with the bass on the roots: natural minor, major, and the same chords with another tonic."""

from __future__ import annotations

import numpy as np

from training.corpus.habits.sheet import DEV_FONTS, Sheet, Song, at_or_above, log_uniform

# Semitones over the tonic of each chord's root, and its third and fifth.
MIN, MAJ = (0, 3, 7), (0, 4, 7)
_MINOR_LOOPS = (
    ((0, MIN), (8, MAJ), (3, MAJ), (10, MAJ)),
    ((0, MIN), (10, MAJ), (8, MAJ), (10, MAJ)),
    ((0, MIN), (10, MAJ), (8, MAJ), (7, MIN)),
    ((0, MIN), (8, MAJ), (10, MAJ), (7, MIN)),
    ((0, MIN), (3, MAJ), (10, MAJ), (5, MIN)),
    ((0, MIN), (5, MIN), (8, MAJ), (10, MAJ)),
    ((0, MIN), (7, MIN), (8, MAJ), (5, MIN)),
    ((0, MIN), (3, MAJ), (8, MAJ), (10, MAJ)),
    ((8, MAJ), (10, MAJ), (0, MIN), (0, MIN)),
    ((8, MAJ), (3, MAJ), (10, MAJ), (0, MIN)),
)
_MAJOR_LOOPS = (
    ((0, MAJ), (7, MAJ), (9, MIN), (5, MAJ)),
    ((0, MAJ), (9, MIN), (5, MAJ), (7, MAJ)),
    ((0, MAJ), (5, MAJ), (9, MIN), (7, MAJ)),
    ((0, MAJ), (4, MIN), (5, MAJ), (7, MAJ)),
    ((0, MAJ), (5, MAJ), (0, MAJ), (7, MAJ)),
    ((0, MAJ), (2, MIN), (5, MAJ), (0, MAJ)),
    ((0, MAJ), (7, MAJ), (5, MAJ), (5, MIN)),
    ((9, MIN), (5, MAJ), (0, MAJ), (7, MAJ)),
    ((5, MAJ), (7, MAJ), (0, MAJ), (9, MIN)),
    ((5, MAJ), (0, MAJ), (7, MAJ), (0, MAJ)),
)
_KICKS = ((0.0, 2.0), (0.0, 2.5), (0.0, 1.5, 2.5), (0.0, 0.75, 2.0), (0.0, 1.0, 2.0, 3.0))


def compose(seed: int) -> Song:
    rng = np.random.default_rng((seed, 501))
    is_major = bool(rng.random() < 0.45)
    loop = (_MAJOR_LOOPS if is_major else _MINOR_LOOPS)[int(rng.integers(10))]
    bpm = log_uniform(rng, 66, 150)
    tonic = int(rng.integers(12))
    sheet = Sheet(rng, bpm, 4, tonic, is_major, jitter_s=float(rng.choice((0.0, 0.004, 0.008))))
    span = 4 if bpm > 80 or rng.random() < 0.5 else 2
    turns = max(2, round(20 * bpm / 60 / (4 * span)))
    _drums(sheet, rng, turns * span)
    bass = sheet.part("bass", int(rng.choice((33, 34, 38, 39))), 105)
    keys = sheet.part("keys", int(rng.choice((0, 1, 4, 25, 27, 81, 89))), 80)
    pad = sheet.part("pad", int(rng.choice((48, 50, 89))), 60) if rng.random() < 0.4 else None
    pulse = float(rng.choice((0.5, 1.0, 4.0)))
    strum = float(rng.choice((0.5, 1.0, 2.0, 4.0)))
    for turn in range(turns):
        for place, (root, shape) in enumerate(loop):
            start = float((turn * 4 + place) * span)
            low = at_or_above(tonic + root, 31)
            for step in np.arange(0.0, span, min(pulse, span)):
                fill = low + 12 if pulse == 0.5 and step % 2 == 1.5 and rng.random() < 0.3 else low
                bass.play(start + float(step), min(pulse, span) * 0.9, fill, 0.85)
            pitches = [at_or_above(tonic + root + each, 55) for each in shape]
            for step in np.arange(0.0, span, min(strum, span)):
                keys.chord(start + float(step), min(strum, span) * 0.85, pitches, 0.65)
            if pad is not None:
                pad.chord(start, float(span), [pitch + 12 for pitch in pitches], 0.5)
    if rng.random() < 0.75:
        _hook(sheet, rng, loop, span, turns)
    is_cut = rng.random() < 0.3
    return sheet.song(
        "pop loops",
        seed,
        font=str(rng.choice(DEV_FONTS)),
        beats=turns * 4 * span - (float(rng.uniform(1, 2 * span)) if is_cut else 0.0),
        lead_beats=float(rng.uniform(0, 4)) if is_cut else 0.0,
    )


def _drums(sheet: Sheet, rng: np.random.Generator, bars: int) -> None:
    if rng.random() < 0.15:
        return
    drums, kicks = sheet.drums(int(rng.choice((0, 8, 25)))), _KICKS[int(rng.integers(len(_KICKS)))]
    hats = 0.5 if sheet.bpm > 75 else 0.25
    for bar in range(bars):
        for kick in kicks:
            drums.play(4 * bar + kick, 0.2, 36, 0.9)
        for snare in (1, 3):
            drums.play(4 * bar + snare, 0.2, 38, 0.85)
        for hat in np.arange(0, 4, hats):
            drums.play(4 * bar + float(hat), 0.1, 42, 0.6 if hat % 1 == 0 else 0.45)


def _hook(
    sheet: Sheet,
    rng: np.random.Generator,
    loop: tuple[tuple[int, tuple[int, ...]], ...],
    span: int,
    turns: int,
) -> None:
    """A riff of one turn that comes again; its last long note is the tonic or the fifth, as the chord allows."""
    lead = sheet.part("lead", int(rng.choice((0, 11, 65, 73, 80, 81))), 95)
    scale = (0, 2, 4, 5, 7, 9, 11) if sheet.is_major else (0, 2, 3, 5, 7, 8, 10)
    riff: list[tuple[float, float, int]] = []
    degree, beat = int(rng.choice((0, 2, 4))), 0.0
    while beat < 4 * span:
        length = float(rng.choice((0.5, 0.5, 1.0, 1.0, 1.5, 2.0)))
        if rng.random() > 0.2:
            root, shape = loop[min(3, int(beat // span))]
            pitch_class = scale[degree % 7]
            if length >= 1 and (pitch_class - root) % 12 not in shape:
                pitch_class = (root + int(rng.choice(shape))) % 12
            riff.append((beat, min(length, 4 * span - beat) * 0.9, pitch_class))
        degree += int(rng.choice((-2, -1, -1, 1, 1, 2)))
        beat += length
    for turn in range(turns):
        for beat, length, pitch_class in riff:
            lead.play(turn * 4 * span + beat, length, at_or_above(sheet.tonic + pitch_class, 67), 0.8)
