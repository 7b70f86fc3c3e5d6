"""Music by another hand: held out whole, and read only for figures that are told.

It shares little harmony, groove, melody or instrument choice with the composers for development, writes its songs
as lists of events on a grid of sixteenths rather than bar by bar, and is played by sound fonts that none of them
uses. Its habits are those that were found hard: loops in natural minor with the bass on the roots, folk patterns
without a kick, slow strings, and as many songs in major of the same kinds.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import defaultdict
from statistics import median

from training.corpus.habits.sheet import Song
from training.corpus.midi import DRUM_CHANNEL, Note, Voice
from training.corpus.music import Truth

KINDS = ("band", "folk", "strings", "electronica", "ballad")
FONTS = ("MuseScore_General_Lite.sf3", "OPL-3_FM_128M.sf2")

_NAMES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
_DEGREE = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_FLAT = {"iii": 3, "vi": 8, "vii": 10}
_TURNS = {
    "minor": (
        "i VI III VII", "i VI III VII", "i VII VI VII", "i iv VI VII", "i VI iv VII", "i III VII VI", "i v VI VII",
        "i VII VI V", "i iv i VII", "i VII III VI", "i VI VII i", "i III iv VI",
    ),
    "major": (
        "I V vi IV", "I vi IV V", "I IV V IV", "I iii IV V", "I IV vi V", "I IV I V", "I V IV V", "I ii IV V",
        "I vi ii V", "I IV ii V", "I bVII IV I", "I iii vi IV",
    ),
}  # fmt: skip
_BEATS = {
    "band": ["K.h.S.h.K.hKS.h.", "K.h.S.hKK.h.S.h.", "K.hKS.h.h.K.S.hh"],
    "electronica": ["K.o.Kco.K.o.Kcoh", "K.h.K.h.K.h.K.hS"],
    "ballad": ["K...s...K.K.s...", "K.h.s.h.h.K.s.h."],
}
_STRUCK = {"K": 36, "S": 38, "s": 37, "h": 42, "o": 46, "c": 39}

Event = tuple[float, float, int, int]  # sixteenth, length in sixteenths, pitch, velocity


def compose(seed: int) -> Song:
    """A song of 4/4 in 16 to 30 s, whole turns of its loop, from its first beat to its last."""
    dice = random.Random(f"other generator {seed}")
    kind, mode = KINDS[seed % len(KINDS)], ("minor", "major")[seed // len(KINDS) % 2]
    key = dice.randrange(12)
    bpm = dice.uniform(
        *{
            "band": (84, 152),
            "folk": (80, 150),
            "strings": (56, 88),
            "electronica": (100, 138),
            "ballad": (62, 92),
        }[kind]
    )
    turn = [_chord(name, mode, key) for name in dice.choice(_TURNS[mode]).split()]
    bars_each = 2 if bpm > 135 and dice.random() < 0.4 else 1
    chords = list(itertools.chain.from_iterable([chord] * bars_each for chord in turn))
    repeats = max(1, round(21 * bpm / 240 / len(chords)))
    chords = chords * repeats
    lines: dict[tuple[str, int, int], list[Event]] = defaultdict(list)
    {"folk": _folk, "strings": _strings}.get(kind, _combo)(kind, dice, chords, lines)
    if dice.random() < (0.9 if kind == "folk" else 0.65):
        _sing(kind, mode, key, dice, chords, len(turn) * bars_each, lines)
    return _song(seed, kind, f"{_NAMES[key]} {mode}", bpm, len(chords), dice, lines)


def _chord(name: str, mode: str, key: int) -> tuple[int, int, int]:
    flat, letters = re.match("(b?)(.*)", name).groups()  # type: ignore[union-attr]
    lowered = (mode == "minor" and letters.lower() in _FLAT) or bool(flat)
    root = (_FLAT if lowered else _DEGREE)[letters.lower()] + key
    return root % 12, (root + (4 if letters.isupper() else 3)) % 12, (root + 7) % 12


def _lowest(pitch_class: int, floor: int) -> int:
    return floor + (pitch_class - floor) % 12


def _combo(kind: str, dice: random.Random, chords: list, lines: dict) -> None:  # type: ignore[type-arg]
    pattern = dice.choice(_BEATS[kind])
    has_drums = dice.random() < 0.9
    low = lines[
        "low", dice.choice({"band": (33, 34), "electronica": (38, 39), "ballad": (32, 35)}[kind]), 110
    ]
    chordal = lines[
        "chords",
        dice.choice({"band": (27, 29, 18), "electronica": (81, 63, 51), "ballad": (0, 4, 2)}[kind]),
        84,
    ]
    feel = dice.choice(("x.x.x.x.x.x.x.x.", "x.....x.....x...", "x...............", "x...x...x...x..."))
    comp = dice.choice(("x...............", "x.......x.......", "..x...x...x...x.", "x..x..x...x.x..."))
    for bar, (root, third, fifth) in enumerate(chords):
        for at in _marks(feel):
            low.append(
                (16 * bar + at, 16 if feel.count("x") == 1 else 2, _lowest(root, 30), 105 if at == 0 else 90)
            )
        for at in _marks(comp):
            for tone in (root, third, fifth):
                chordal.append((16 * bar + at, 16 / max(1, comp.count("x")) * 0.9, _lowest(tone, 57), 78))
        if has_drums:
            for at, mark in enumerate(pattern):
                if mark in _STRUCK:
                    lines["kit", 0, 112].append(
                        (16 * bar + at, 1, _STRUCK[mark], {"K": 115, "S": 110}.get(mark, 75))
                    )


def _marks(text: str) -> list[int]:
    return [at for at, mark in enumerate(text) if mark == "x"]


def _folk(kind: str, dice: random.Random, chords: list, lines: dict) -> None:  # type: ignore[type-arg]
    guitar = lines["picking", dice.choice((24, 25, 105, 107, 26)), 108]
    pattern = dice.choice(
        ("r.3.5.3.r.3.5.3.", "r...c...5...c...", "r...c.c.r...c.c.", "r.5.3.5.8.5.3.5.", "c...c.c...c.c.c.")
    )
    for bar, (root, third, fifth) in enumerate(chords):
        tones = {
            "r": _lowest(root, 40),
            "3": _lowest(third, 55),
            "5": _lowest(fifth, 52),
            "8": _lowest(root, 60),
        }
        for at, mark in enumerate(pattern):
            if mark == "c":
                guitar.extend(
                    (16 * bar + at, 3, _lowest(tone, 52), 80 + 12 * (at == 0))
                    for tone in (root, third, fifth)
                )
            elif mark in tones:
                guitar.append((16 * bar + at, 4, tones[mark], 100 if at == 0 else 82))
    if dice.random() < 0.35:
        for bar, (root, _, _) in enumerate(chords):
            lines["low", 32, 96].append((16 * bar, 14, _lowest(root, 30), 92))
    if dice.random() < 0.25:
        for bar, beat in itertools.product(range(len(chords)), (4, 12)):
            lines["kit", 0, 90].append((16 * bar + beat, 1, 54, 84))


def _strings(kind: str, dice: random.Random, chords: list, lines: dict) -> None:  # type: ignore[type-arg]
    high, low = (
        lines["high strings", dice.choice((48, 49, 51)), 100],
        lines["low strings", dice.choice((42, 43, 48)), 104],
    )
    moving = dice.random() < 0.5
    for bar, (root, third, fifth) in enumerate(chords):
        low.append((16 * bar, 15.5, _lowest(root, 36), 88))
        high.extend((16 * bar, 15.5, _lowest(tone, 55), 76) for tone in (root, third, fifth))
        if moving:
            inner = lines["inner", 41, 92]
            for beat, tone in enumerate((fifth, third, root, third)):
                inner.append((16 * bar + 4 * beat, 3.8, _lowest(tone, 60), 78))


def _sing(kind: str, mode: str, key: int, dice: random.Random, chords: list, loop: int, lines: dict) -> None:  # type: ignore[type-arg]
    """A line over one turn of the loop, sung again with another end."""
    voice = lines[
        "song",
        dice.choice(
            {
                "band": (65, 30),
                "folk": (22, 72, 40, 77),
                "strings": (40, 69),
                "electronica": (80, 87),
                "ballad": (73, 66, 11),
            }[kind]
        ),
        106,
    ]
    steps = (0, 2, 3, 5, 7, 8, 10) if mode == "minor" else (0, 2, 4, 5, 7, 9, 11)
    ladder = [pitch for pitch in range(64, 86) if (pitch - key) % 12 in steps]
    grid = 4 if kind == "strings" else dice.choice((2, 4))
    where, line = dice.randrange(4, len(ladder) - 4), []
    for at in range(0, 16 * loop, grid):
        if dice.random() < (0.8 if at % 4 == 0 else 0.45):
            chord = chords[at // 16]
            where = min(max(where + dice.choice((-2, -1, -1, 0, 1, 1, 2)), 1), len(ladder) - 2)
            pitch = ladder[where]
            if at % 8 == 0:
                pitch = min((p for p in ladder if p % 12 in chord), key=lambda p: abs(p - pitch))
            line.append((at, pitch))
    for turn in range(len(chords) // loop):
        starts = [at for at, _ in line] + [16 * loop]
        for (at, pitch), after in zip(line, starts[1:], strict=True):
            voice.append((16 * loop * turn + at, min(after - at, 8) * 0.95, pitch, 92))


def _song(seed: int, kind: str, name: str, bpm: float, bars: int, dice: random.Random, lines: dict) -> Song:  # type: ignore[type-arg]
    """Sixteenths to seconds; people are up to 8 ms off, machines are not."""
    off_s = 0.0 if kind == "electronica" else 0.008
    step_s = 15 / bpm
    free = iter(number for number in range(16) if number != DRUM_CHANNEL)
    voices = []
    for (part, program, gain), events in sorted(lines.items()):
        notes = []
        for at, length, pitch, velocity in events:
            start_s = max(0.0, at * step_s + dice.uniform(-off_s, off_s))
            notes.append(Note(start_s, max(start_s + 0.04, (at + length) * step_s), pitch, velocity))
        channel = DRUM_CHANNEL if part == "kit" else next(free)
        voices.append(Voice(part, channel, program, tuple(notes), gain=gain))
    beats_s = tuple(4 * step_s * beat for beat in range(4 * bars))
    truth = Truth(
        bpm=60 / median(after - before for before, after in itertools.pairwise(beats_s)),
        is_steady=True,
        meter=4,
        beats_s=beats_s,
        downbeats_s=beats_s[::4],
        key=name,
        tuning_cents=0.0,
        melody_f0_hz=(),
    )
    return Song(
        f"other generator: {kind}", seed, dice.choice(FONTS), 240 * bars / bpm, 0.0, 0.0, tuple(voices), truth
    )
