"""Music from a seed: first a plan of it (`draw_plan`), then its notes (`compose_plan`); `compose` is both.

Plans are plain records: `dataclasses.replace(draw_plan(seed, "drums"), bpm=97.3, chord_program=48)` is as good a
plan as one that was drawn, and the way to music of a certain style.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.corpus.drums import Groove, draw_groove
from training.corpus.harmony import SCALES, Key, nearest, voiced
from training.corpus.midi import DRUM_CHANNEL, Note, Voice

STRATA = ("drums", "no drums", "swing", "half-time", "waltz", "drift")
"""`drums`: 4/4 with the backbeat on 2 and 4 (or none). `no drums`: the same without. `swing`: swung eighths.
`half-time`: the backbeat has half the tempo of everything else, so 100 to 190 BPM. `waltz`: 3/4, one in three
without drums. `drift`: as `drums`, the tempo sways by up to 6 %."""

SLOWEST_BPM, QUICKEST_BPM = 60.0, 190.0
MELODY_HOP_S = 0.01

# General MIDI programs, counted from 0.
CHORD_PROGRAMS = (0, 1, 4, 5, 6, 16, 19, 24, 25, 26, 27, 48, 50, 61, 88, 89)
BASS_PROGRAMS = (32, 33, 34, 35, 38, 39)
MELODY_PROGRAMS = (0, 11, 25, 27, 40, 41, 56, 65, 66, 68, 71, 73, 80, 81)
PAD_PROGRAMS = (48, 49, 50, 52, 89, 90, 94)

COMPINGS = ("whole", "quarters", "eighths", "offbeats", "arpeggio", "charleston", "halves")
BASSES = ("kicks", "quarters", "halves", "eighths", "wholes", "walking")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that was decided about a piece before any note of it.

    `lead_beats` of it are cut off, so that clips begin anywhere in a bar. `swing` is where an eighth falls in its
    beat (0.5 is straight). `drift` is the tempo's largest deviation, as a share. `jitter_s` is the standard
    deviation of when notes are struck; at 0 a machine plays, and no stroke is louder than another of its kind.
    `beats_of_chord` is for how long a chord stays. `groove` None is without drums; `comping` and `bass` are one of
    `COMPINGS` and `BASSES`. None for any instrument leaves it out. `velocity` 0..1 is how hard all play,
    `notes_per_beat` how busy the melody is, and `drums_from_bar` where the drums set in.
    """

    seed: int
    stratum: str
    bpm: float
    meter: int
    key: Key
    duration_s: float
    lead_beats: float
    swing: float
    drift: float
    jitter_s: float
    tuning_cents: float
    beats_of_chord: int
    sevenths: bool
    groove: Groove | None
    drums_from_bar: int
    comping: str | None
    chord_program: int
    bass: str | None
    bass_program: int
    melody_program: int | None
    notes_per_beat: float
    melody_center: float
    pad_program: int | None
    velocity: float


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a rendered clip; times are seconds from the clip's beginning.

    `bpm` is the median over its beats; `is_steady` where it holds from beginning to end. `key` is as "F# minor".
    `melody_f0_hz` has a value for each `MELODY_HOP_S`, at its beginning: the frequency of the melody's note with
    the tuning in it, None where there is none.
    """

    bpm: float
    is_steady: bool
    meter: int
    beats_s: tuple[float, ...]
    downbeats_s: tuple[float, ...]
    key: str
    tuning_cents: float
    melody_f0_hz: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """`voices` are in time from the piece's beginning, `lead_s` before that of the clip."""

    plan: Plan
    voices: tuple[Voice, ...]
    lead_s: float
    truth: Truth


def compose(seed: int, stratum: str) -> Piece:
    """The piece of this seed. Raises ValueError for an unknown stratum."""
    return compose_plan(draw_plan(seed, stratum))


def draw_plan(seed: int, stratum: str) -> Plan:
    """Tempo is log-uniform, keys and instruments are uniform. Raises ValueError for an unknown stratum."""
    if stratum not in STRATA:
        raise ValueError(f"no such stratum: {stratum!r}")
    rng = np.random.default_rng((seed, STRATA.index(stratum)))
    slowest_bpm = 100.0 if stratum == "half-time" else SLOWEST_BPM
    bpm = math.exp(rng.uniform(math.log(slowest_bpm), math.log(QUICKEST_BPM)))
    meter = 3 if stratum == "waltz" else 4
    has_drums = stratum != "no drums" and (stratum != "waltz" or rng.random() < 0.67)
    groove = draw_groove(rng, stratum, bpm, meter) if has_drums else None
    return Plan(
        seed=seed,
        stratum=stratum,
        bpm=bpm,
        meter=meter,
        key=Key(
            int(rng.integers(12)), str(rng.choice(("major", "major", "natural minor", "harmonic minor")))
        ),
        duration_s=10.0 if rng.random() < 0.15 else float(rng.uniform(20, 30)),
        lead_beats=0.0 if rng.random() < 0.3 else float(rng.uniform(0, 2 * meter)),
        swing=float(rng.uniform(0.6, 0.68)) if stratum == "swing" else 0.5,
        drift=float(rng.uniform(0.02, 0.06)) if stratum == "drift" else 0.0,
        jitter_s=float(rng.uniform(0.001, 0.012)),
        tuning_cents=0.0,
        beats_of_chord=_draw_chord_length(rng, bpm, meter),
        sevenths=bool(rng.random() < (0.8 if stratum == "swing" else 0.2)),
        groove=groove,
        drums_from_bar=int(rng.choice((0, 0, 0, 0, 0, 2))),
        comping=_draw_comping(rng, bpm, groove),
        chord_program=int(rng.choice(CHORD_PROGRAMS)),
        bass=_draw_bass(rng, bpm, stratum, has_drums),
        bass_program=int(rng.choice(BASS_PROGRAMS)),
        melody_program=int(rng.choice(MELODY_PROGRAMS)) if rng.random() < 0.8 else None,
        notes_per_beat=float(
            np.clip(1.6 * (110 / bpm) ** 0.7 * math.exp(0.3 * rng.standard_normal()), 0.4, 3)
        ),
        melody_center=float(rng.uniform(69, 79)),
        pad_program=int(rng.choice(PAD_PROGRAMS)) if rng.random() < 0.3 else None,
        velocity=float(rng.uniform(0.55, 0.95)),
    )


def compose_plan(plan: Plan) -> Piece:
    """The notes of a plan, and what is true of them."""
    rng = np.random.default_rng((plan.seed, 1 + len(STRATA)))
    clock = _Clock.of(plan, rng)
    chords = _chords(plan, clock.bars, rng)
    wanted: list[tuple[str, int, int, Iterator[_Tone]]] = []
    if plan.groove is not None:
        wanted.append(("drums", DRUM_CHANNEL, 0, _drums(plan, plan.groove, clock.bars, rng)))
    if plan.bass is not None:
        wanted.append(("bass", 0, plan.bass_program, _bass(plan, plan.bass, chords, rng)))
    if plan.comping is not None:
        wanted.append(("chords", 1, plan.chord_program, _comping(plan, plan.comping, chords, rng)))
    if plan.melody_program is not None:
        wanted.append(("melody", 2, plan.melody_program, _melody(plan, chords, rng)))
    if plan.pad_program is not None:
        wanted.append(("pad", 3, plan.pad_program, _pad(chords)))
    gains = {"drums": 105, "bass": 105, "chords": 85, "melody": 100, "pad": 70}
    pans = {"chords": int(rng.integers(40, 90)), "melody": int(rng.integers(50, 80))}
    voices = tuple(
        Voice(
            name,
            channel,
            program,
            _struck(plan, clock, tones, rng, is_steady=name == "pad"),
            gain=round(gains[name] * float(rng.uniform(0.8, 1.1))),
            pan=pans.get(name, 64),
        )
        for name, channel, program, tones in wanted
    )
    return Piece(plan, voices, clock.lead_s, _truth(plan, clock, voices))


@dataclass(frozen=True, slots=True)
class _Clock:
    """When beats are: `beats_s` from the piece's beginning on."""

    beats_s: npt.NDArray[np.float64]
    bars: int
    lead_s: float
    swing: float

    @classmethod
    def of(cls, plan: Plan, rng: np.random.Generator) -> _Clock:
        needed = plan.lead_beats + plan.duration_s * plan.bpm * (1 + plan.drift) / 60
        bars = math.ceil(needed / plan.meter) + 1
        beats = np.arange(bars * plan.meter + 1)
        turns = rng.uniform(0.6, 1.6) * beats / len(beats) + rng.random()
        pace = 1 + plan.drift * np.sin(2 * np.pi * turns)
        beats_s = np.concatenate([[0.0], np.cumsum(60 / (plan.bpm * pace))[:-1]])
        lead_s = float(np.interp(plan.lead_beats, beats, beats_s))
        return cls(beats_s, bars, lead_s, plan.swing)

    def at(self, beat: float) -> float:
        """Seconds of a position in beats, swung."""
        whole = math.floor(beat)
        part = beat - whole
        if part < 0.5:
            part *= 2 * self.swing
        else:
            part = self.swing + (part - 0.5) * 2 * (1 - self.swing)
        return float(np.interp(whole + part, np.arange(len(self.beats_s)), self.beats_s))


@dataclass(frozen=True, slots=True)
class _Tone:
    """In beats; velocity 0..1."""

    beat: float
    length: float
    pitch: int
    velocity: float


@dataclass(frozen=True, slots=True)
class _Chord:
    beat: float
    length: float
    degree: int
    pitch_classes: tuple[int, ...]


def _draw_chord_length(rng: np.random.Generator, bpm: float, meter: int) -> int:
    draw = bpm * math.exp(0.25 * rng.standard_normal())
    if meter == 3:
        return 3 if draw < 150 else 6
    return 2 if draw < 62 else 8 if draw > 175 else 4


def _draw_comping(rng: np.random.Generator, bpm: float, groove: Groove | None) -> str:
    if groove is not None and groove.feel == "swing":
        return str(rng.choice(("charleston", "halves", "quarters", "offbeats")))
    if bpm > 135:
        return str(rng.choice(("whole", "quarters", "halves", "offbeats", "eighths")))
    return str(rng.choice(("whole", "quarters", "eighths", "offbeats", "arpeggio")))


def _draw_bass(rng: np.random.Generator, bpm: float, stratum: str, has_drums: bool) -> str:
    if stratum == "swing":
        return str(rng.choice(("walking", "walking", "halves")))
    if not has_drums:
        return str(rng.choice(("quarters", "halves", "wholes")))
    return str(
        rng.choice(
            ("kicks", "quarters", "halves", "eighths") if bpm < 150 else ("kicks", "quarters", "halves")
        )
    )


def _chords(plan: Plan, bars: int, rng: np.random.Generator) -> list[_Chord]:
    count = math.ceil(bars * plan.meter / plan.beats_of_chord)
    return [
        _Chord(
            index * plan.beats_of_chord,
            plan.beats_of_chord,
            degree,
            plan.key.chord(degree, seventh=plan.sevenths and degree != 0),
        )
        for index, degree in enumerate(plan.key.degrees(rng, count))
    ]


def _drums(plan: Plan, groove: Groove, bars: int, rng: np.random.Generator) -> Iterator[_Tone]:
    for bar in range(plan.drums_from_bar, bars):
        for hit in groove.bar(bar, plan.meter, rng):
            yield _Tone(bar * plan.meter + hit.beat, 0.2, hit.pitch, hit.velocity)


def _bass(plan: Plan, way: str, chords: list[_Chord], rng: np.random.Generator) -> Iterator[_Tone]:
    kicks = plan.groove.kicks if plan.groove is not None else (0.0, 2.0)
    for chord, after in zip(chords, [*chords[1:], chords[0]], strict=True):
        root = nearest(chord.pitch_classes[0], 40)
        fifth = root + (chord.pitch_classes[2] - chord.pitch_classes[0]) % 12
        for beat, length in _bass_times(way, kicks, plan.meter, chord):
            within = beat - chord.beat
            pitch = fifth if way == "halves" and within % plan.meter != 0 and rng.random() < 0.4 else root
            if way == "walking" and within:
                pitch = nearest(int(rng.choice(chord.pitch_classes)), 42)
                if within >= chord.length - 1:
                    pitch = nearest(after.pitch_classes[0], 41) + int(rng.choice((-1, 1)))
            yield _Tone(beat, length * 0.9, pitch, 0.9 if within == 0 else 0.75)


def _bass_times(
    way: str, kicks: tuple[float, ...], meter: int, chord: _Chord
) -> Iterator[tuple[float, float]]:
    if way == "kicks":
        bars = np.arange(0, chord.length, meter)
        at = [bar + kick for bar in bars for kick in kicks if bar + kick < chord.length]
    elif way == "halves" and meter == 3:
        at = [float(beat) for beat in np.arange(0, chord.length, 3)]
    else:
        step = {"quarters": 1.0, "walking": 1.0, "halves": 2.0, "eighths": 0.5, "wholes": chord.length}[way]
        at = [float(beat) for beat in np.arange(0, chord.length, step)]
    for beat, after in zip(at, [*at[1:], chord.length], strict=True):
        yield chord.beat + beat, after - beat


def _comping(plan: Plan, way: str, chords: list[_Chord], rng: np.random.Generator) -> Iterator[_Tone]:
    around = float(rng.uniform(57, 64))
    for chord in chords:
        pitches = voiced(chord.pitch_classes, around)
        if way == "arpeggio":
            order = [*pitches, *pitches[-2:0:-1]]
            for step, beat in enumerate(np.arange(0, chord.length, 0.5)):
                yield _Tone(
                    chord.beat + float(beat), 0.7, order[step % len(order)], 0.75 if beat % 1 == 0 else 0.65
                )
            continue
        for beat, length in _comping_times(way, plan.meter, chord.length):
            accent = 0.85 if beat == 0 else 0.7
            for pitch in pitches:
                yield _Tone(chord.beat + beat, length, pitch, accent)


def _comping_times(way: str, meter: int, length: float) -> Iterator[tuple[float, float]]:
    if meter == 3 and way != "whole":  # the first beat is the bass's
        for bar in np.arange(0, length, 3):
            yield from ((float(bar) + beat, 0.6) for beat in (1.0, 2.0))
        return
    match way:
        case "whole":
            yield 0.0, length * 0.97
        case "charleston":
            for bar in np.arange(0, length, 4):
                yield from ((float(bar), 0.8), (float(bar) + 1.5, 0.5))
        case _:
            step = {"quarters": 1.0, "eighths": 0.5, "offbeats": 1.0, "halves": 2.0}[way]
            first = 0.5 if way == "offbeats" else 0.0
            for beat in np.arange(first, length, step):
                yield float(beat), step * (0.5 if way == "offbeats" else 0.85)


def _melody(plan: Plan, chords: list[_Chord], rng: np.random.Generator) -> Iterator[_Tone]:
    """Steps of the scale, chord tones where chords begin, and the tonic at the end of every fourth chord."""
    scale = [plan.key.pitch_class(degree) for degree in range(len(SCALES[plan.key.scale]))]
    ladder = [pitch for pitch in range(127) if pitch % 12 in scale]
    center = plan.melody_center
    place = int(np.argmin([abs(pitch - center) for pitch in ladder]))
    for number, chord in enumerate(chords):
        beat = chord.beat
        while beat < chord.beat + chord.length:
            length = _note_length(plan, beat, rng)
            length = min(length, chord.beat + chord.length - beat)
            if rng.random() < 0.12:  # a rest
                beat += length
                continue
            pull = -1 if ladder[place] > center + 7 else 1 if ladder[place] < center - 7 else 0
            place += int(rng.choice((-2, -1, -1, 0, 1, 1, 2))) + pull
            pitch = ladder[place]
            if beat == chord.beat or length >= 2:
                pitch = nearest(int(rng.choice(chord.pitch_classes[:3])), pitch)
            if number % 4 == 3 and beat + length >= chord.beat + chord.length and chord.degree == 0:
                pitch = nearest(plan.key.tonic, pitch)
            place = int(np.argmin([abs(each - pitch) for each in ladder]))
            yield _Tone(beat, length * 0.93, pitch, 0.9 if beat % plan.meter == 0 else 0.78)
            beat += length


def _note_length(plan: Plan, beat: float, rng: np.random.Generator) -> float:
    on_beat, on_eighth = beat % 1 == 0, beat % 0.5 == 0
    wanted = 1 / plan.notes_per_beat * math.exp(0.5 * rng.standard_normal())
    lengths: tuple[float, ...] = (
        (0.25, 0.5, 1.0, 1.5, 2.0, 3.0) if on_beat else (0.25, 0.5, 1.5) if on_eighth else (0.25,)
    )
    if plan.swing > 0.5 or plan.bpm > 130:
        lengths = tuple(length for length in lengths if length != 0.25)
    return min(lengths, key=lambda length: abs(math.log(length / wanted)))


def _pad(chords: list[_Chord]) -> Iterator[_Tone]:
    for chord in chords:
        for pitch in voiced(chord.pitch_classes, 66):
            yield _Tone(chord.beat, chord.length * 0.98, pitch, 0.6)


def _struck(
    plan: Plan, clock: _Clock, tones: Iterator[_Tone], rng: np.random.Generator, *, is_steady: bool
) -> tuple[Note, ...]:
    """Tones as a human plays them."""
    notes = []
    for tone in tones:
        late_s = 0.0 if is_steady else float(np.clip(rng.standard_normal(), -2.5, 2.5)) * plan.jitter_s
        start_s = max(0.0, clock.at(tone.beat) + late_s)
        end_s = max(start_s + 0.03, clock.at(tone.beat + tone.length))
        touch = math.exp(0.08 * rng.standard_normal()) if plan.jitter_s > 0 else 1.0
        velocity = plan.velocity * tone.velocity * touch
        notes.append(Note(start_s, end_s, tone.pitch, int(np.clip(round(127 * velocity), 1, 127))))
    return tuple(notes)


def _truth(plan: Plan, clock: _Clock, voices: tuple[Voice, ...]) -> Truth:
    beats_s = clock.beats_s - clock.lead_s
    heard = (beats_s >= 0) & (beats_s < plan.duration_s)
    is_first = np.arange(len(beats_s)) % plan.meter == 0
    within = beats_s[heard]
    return Truth(
        bpm=60 / float(np.median(np.diff(within))),
        is_steady=plan.drift == 0,
        meter=plan.meter,
        beats_s=tuple(within.tolist()),
        downbeats_s=tuple(beats_s[heard & is_first].tolist()),
        key=plan.key.name,
        tuning_cents=plan.tuning_cents,
        melody_f0_hz=_melody_f0_hz(plan, clock.lead_s, voices),
    )


def _melody_f0_hz(plan: Plan, lead_s: float, voices: tuple[Voice, ...]) -> tuple[float | None, ...]:
    frames: list[float | None] = [None] * math.ceil(plan.duration_s / MELODY_HOP_S)
    to_frame: Callable[[float], int] = lambda time_s: math.ceil((time_s - lead_s) / MELODY_HOP_S)  # noqa: E731
    for voice in voices:
        for note in voice.notes if voice.name == "melody" else ():
            f0_hz = 440 * 2 ** ((note.pitch - 69 + plan.tuning_cents / 100) / 12)
            for frame in range(max(0, to_frame(note.start_s)), min(len(frames), to_frame(note.end_s))):
                frames[frame] = f0_hz
    return tuple(frames)
