"""A song from a seed: what was decided about it, its notes, and what is true of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.corpus.harmony import Key
from training.corpus.midi import DRUM_CHANNEL, Note, Voice
from training.starter.composer import parts
from training.starter.composer.phrases import PHRASE_BARS, Theme, draw_theme, play_theme
from training.starter.composer.styles import INSTRUMENTS, STYLES, VOICES, Style
from training.starter.composer.tones import Chord, Tone

ROLES = ("drums", "bass", "chords", "lead", "pad")
STEMS = ("drums", "bass", "other", "vocals")
SONG_S = 60.0

_SECTIONS: dict[str, tuple[str, ...]] = {
    "full": ROLES,
    "verse": ("drums", "bass", "chords", "lead"),
    "groove": ("drums", "bass", "chords", "pad"),
    "break": ("chords", "lead", "pad"),
    "build": ("light drums", "bass", "chords", "pad"),
    "intro": ("light drums", "chords"),
}
"""Who plays in a section."""

_FORMS = (
    ("verse", "full", "verse", "full", "break", "full"),
    ("groove", "full", "full", "groove", "full", "verse"),
    ("build", "full", "verse", "full", "full", "groove"),
    ("full", "full", "groove", "full", "full", "full"),
    ("intro", "verse", "full", "break", "full", "full"),
    ("verse", "verse", "full", "full", "build", "full"),
)
_MINOR = ("natural minor", "natural minor", "harmonic minor")
_CHANNELS = {"drums": DRUM_CHANNEL, "bass": 0, "chords": 2, "pad": 6}
_LEAD_CHANNEL, _VOICE_CHANNEL = 10, 3
_GAINS = {"drums": 108, "bass": 105, "chords": 82, "lead": 98, "pad": 66}


@dataclass(frozen=True, slots=True)
class SongPlan:
    """`section_bars` bars each of `sections` (names of `_SECTIONS`), then again. Programs are None where the
    role is left out; `lead_in_beats` of the song are cut off at its beginning."""

    seed: int
    style: Style
    bpm: float
    meter: int
    key: Key
    swing: float
    stay: int
    sevenths: bool
    sections: tuple[str, ...]
    section_bars: int
    lead_in_beats: float
    beat: parts.Beat | None
    kit: int
    comping: str
    bass: str
    programs: dict[str, int | None]
    density: float
    jitter_s: float
    velocity: float


@dataclass(frozen=True, slots=True)
class SongTruth:
    """What is true of a rendered song; times are seconds from its beginning, `instruments` words by role,
    sections (start, name)."""

    seed: int
    style: str
    family: str
    bpm: float
    meter: int
    key: str
    beats_s: tuple[float, ...]
    downbeats_s: tuple[float, ...]
    chords: tuple[tuple[float, tuple[int, ...]], ...]
    sections: tuple[tuple[float, str], ...]
    instruments: dict[str, str]
    has_voice: bool
    velocity: float

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Song:
    """`voices` in seconds from the rendered beginning; `duration_s` long."""

    plan: SongPlan
    voices: tuple[Voice, ...]
    truth: SongTruth
    duration_s: float


def draw_song(seed: int, style_id: str | None = None) -> SongPlan:
    """The plan of this seed; styles take turns unless one is named. Raises StopIteration for an unknown style."""
    rng = np.random.default_rng((seed, 4711))
    style = STYLES[seed % len(STYLES)]
    if style_id is not None:
        style = next(each for each in STYLES if each.id == style_id)
    bpm = float(round(math.exp(rng.uniform(math.log(style.bpm[0]), math.log(style.bpm[1])))))
    meter = int(rng.choice(style.meters))
    scale = str(rng.choice(_MINOR)) if rng.random() < style.minor_share else "major"
    has_voice = rng.random() < style.voice_share
    pick: Callable[[Sequence[Any]], Any] = lambda choices: choices[int(rng.integers(len(choices)))]  # noqa: E731
    beat = None
    if style.kits:
        beat = parts.Beat(
            kicks=tuple(kick for kick in pick(style.kicks) if kick < meter),
            snares=tuple(snare for snare in pick(style.snares) if snare < meter),
            snare_pitch=pick(style.snare_pitches),
            timekeeper=pick(style.timekeepers),
            subdivision=1 if bpm > 165 and rng.random() < 0.5 else pick(style.subdivisions),
            ghosts=style.ghosts,
            fill_every=pick((4, 8, 8)),
            is_swung=style.id == "jazz",
        )
    stay = pick(style.stay)
    return SongPlan(
        seed=seed,
        style=style,
        bpm=bpm,
        meter=meter,
        key=Key(int(rng.integers(12)), scale),
        swing=float(rng.uniform(*style.swings)),
        stay=meter if meter == 3 else stay,
        sevenths=bool(rng.random() < style.sevenths),
        sections=pick(_FORMS),
        section_bars=8 if bpm > 120 and rng.random() < 0.5 else 4,
        lead_in_beats=float(rng.uniform(0, meter)) if rng.random() < 0.7 else 0.0,
        beat=beat,
        kit=pick(style.kits) if style.kits else 0,
        comping=pick(style.comping),
        bass=pick(style.basses),
        programs={
            "bass": pick(style.bass),
            "chords": pick(style.chords),
            "lead": pick(VOICES) if has_voice else pick(style.lead),
            "pad": pick(style.pad) if style.pad and rng.random() < style.pad_share else None,
        },
        density=float(rng.uniform(*style.density)),
        jitter_s=float(rng.uniform(*style.jitter_s)),
        velocity=float(rng.uniform(0.6, 0.95)) * (0.8 if style.family == "ambient" else 1.0),
    )


def compose_song(plan: SongPlan, duration_s: float = SONG_S) -> Song:
    """The notes of a plan, and what is true of them."""
    rng = np.random.default_rng((plan.seed, 4712))
    beat_s = 60 / plan.bpm
    bars = math.ceil((plan.lead_in_beats + duration_s / beat_s) / plan.meter) + 1
    chords = _chords(plan, bars, rng)
    tones = _all_tones(plan, bars, chords, rng)
    lead_in_s = plan.lead_in_beats * beat_s
    voices = tuple(_voice(plan, role, tones[role], rng, lead_in_s) for role in ROLES if tones.get(role))
    return Song(plan, voices, _truth(plan, bars, chords, tones, duration_s), duration_s)


def _chords(plan: SongPlan, bars: int, rng: np.random.Generator) -> list[Chord]:
    """One progression all along, another in every section called `break` or `full` of some songs."""
    total = bars * plan.meter
    count = math.ceil(total / plan.stay)
    return [
        Chord(
            index * plan.stay,
            plan.stay,
            degree,
            plan.key.chord(degree, seventh=plan.sevenths and plan.comping != "power"),
        )
        for index, degree in enumerate(plan.key.degrees(rng, count))
    ]


def section_of(plan: SongPlan, bar: int) -> str:
    return plan.sections[bar // plan.section_bars % len(plan.sections)]


def _all_tones(
    plan: SongPlan, bars: int, chords: Sequence[Chord], rng: np.random.Generator
) -> dict[str, list[Tone]]:
    straight = plan.swing < 0.53 and plan.bpm < 130
    themes: dict[str, Theme] = {
        name: draw_theme(rng, plan.meter, plan.density, straight=straight) for name in ("verse", "full")
    }
    themes["break"] = themes["full"]
    around = 62.0 + float(rng.uniform(-2, 3))
    lead_at = float(rng.uniform(68, 77))
    if plan.programs["lead"] in (42, 57, 60, 66, 29, 30):
        lead_at -= 8
    kicks = plan.beat.kicks if plan.beat is not None else (0.0,)
    tones: dict[str, list[Tone]] = {
        "bass": list(parts.bass(plan.bass, chords, kicks, plan.meter, rng)),
        "chords": list(parts.comping(plan.comping, chords, plan.meter, around)),
        "pad": list(parts.pad(chords)) if plan.programs["pad"] is not None else [],
        "drums": [],
        "lead": [],
    }
    for first in range(0, bars, plan.section_bars):
        section = section_of(plan, first)
        within = range(first, min(bars, first + plan.section_bars))
        players = _SECTIONS[section]
        if section in themes:
            for phrase in range(within.start, within.stop, PHRASE_BARS):
                over = range(phrase, min(within.stop, phrase + PHRASE_BARS))
                tones["lead"] += play_theme(themes[section], chords, plan.key, over, plan.meter, lead_at, rng)
        if plan.beat is not None and ("drums" in players or "light drums" in players):
            for bar in within:
                tones["drums"] += parts.drums(
                    plan.beat, bar, plan.meter, rng, is_light="light drums" in players
                )
    for role in ("bass", "chords", "pad"):
        tones[role] = [
            tone
            for tone in tones[role]
            if role in _SECTIONS[section_of(plan, int(tone.beat // plan.meter))]
            or (role == "pad" and plan.beat is None)
        ]
    return tones


def _voice(
    plan: SongPlan, role: str, tones: Iterable[Tone], rng: np.random.Generator, lead_in_s: float
) -> Voice:
    program = plan.kit if role == "drums" else plan.programs[role]
    assert program is not None
    is_voice = role == "lead" and program in VOICES
    channel = (_VOICE_CHANNEL if is_voice else _LEAD_CHANNEL) if role == "lead" else _CHANNELS[role]
    pan = {"chords": int(rng.integers(44, 84)), "lead": int(rng.integers(54, 74))}.get(role, 64)
    notes = []
    for tone in tones:
        late_s = 0.0 if role == "pad" else float(np.clip(rng.standard_normal(), -2.5, 2.5)) * plan.jitter_s
        start_s = time_s(plan, tone.beat) + late_s - lead_in_s
        end_s = max(start_s + 0.04, time_s(plan, tone.beat + tone.length) - lead_in_s)
        if end_s <= 0.05:
            continue
        touch = math.exp(0.07 * rng.standard_normal()) if plan.jitter_s > 0 else 1.0
        velocity = int(np.clip(round(127 * plan.velocity * tone.velocity * touch), 1, 127))
        notes.append(Note(max(0.0, start_s), end_s, int(np.clip(tone.pitch, 12, 115)), velocity))
    gain = round(_GAINS[role] * float(rng.uniform(0.85, 1.1)))
    name = "vocals" if is_voice else role
    return Voice(name, channel, program, tuple(notes), gain=min(gain, 127), pan=pan)


def time_s(plan: SongPlan, beat: float) -> float:
    """Seconds of a position in beats, swung, from the first beat of the first bar."""
    whole = math.floor(beat)
    part = beat - whole
    if part < 0.5:
        part *= 2 * plan.swing
    else:
        part = plan.swing + (part - 0.5) * 2 * (1 - plan.swing)
    return (whole + part) * 60 / plan.bpm


def _truth(
    plan: SongPlan, bars: int, chords: Sequence[Chord], tones: dict[str, list[Tone]], duration_s: float
) -> SongTruth:
    beat_s = 60 / plan.bpm
    at: Callable[[float], float] = lambda beat: (beat - plan.lead_in_beats) * beat_s  # noqa: E731
    beats = [number for number in range(bars * plan.meter) if 0 <= at(number) < duration_s]
    lead = plan.programs["lead"]
    words = {
        role: INSTRUMENTS[program]
        for role, program in plan.programs.items()
        if program is not None and tones.get(role)
    }
    return SongTruth(
        seed=plan.seed,
        style=plan.style.id,
        family=plan.style.family,
        bpm=plan.bpm,
        meter=plan.meter,
        key=plan.key.name,
        beats_s=tuple(round(at(number), 6) for number in beats),
        downbeats_s=tuple(round(at(number), 6) for number in beats if number % plan.meter == 0),
        chords=tuple((round(at(chord.beat), 4), chord.pitch_classes) for chord in chords),
        sections=tuple(
            (round(at(bar * plan.meter), 4), section_of(plan, bar))
            for bar in range(0, bars, plan.section_bars)
        ),
        instruments=words,
        has_voice=lead in VOICES,
        velocity=plan.velocity,
    )
