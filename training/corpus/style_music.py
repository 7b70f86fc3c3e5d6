"""Music of a known style and mood, from a seed: what the adapter learns from.

Styles are what General MIDI and the corpus's composer can tell apart: instruments, tempo, groove, how chords
and bass are played. Tempo, key and touch vary in each of them, and so does the mood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deployments.audio.samples import Samples
from training.corpus.drums import CLAP, CLOSED_HAT, OPEN_HAT, RIDE, SHAKER, SNARE, STICK, Groove
from training.corpus.music import Piece, Plan, compose_plan, draw_plan

CLIP_S = 12.0

_KITS = {"electronic": (24, 25), "hip-hop": (25, 24, 0), "jazz": (32, 40), "rock": (16, 8, 0), "funk": (0, 8)}
"""General MIDI's drum kits, as FluidR3 has them."""


@dataclass(frozen=True, slots=True)
class Mood:
    """-1..1 each."""

    valence: float
    arousal: float


def style_piece(seed: int, style: str) -> Piece:
    """A piece of `CLIP_S`. Raises KeyError for a style that nobody taught the composer."""
    rng = np.random.default_rng((seed, 77))
    stratum = {"jazz": "swing", "ambient": "no drums", "classical": "no drums"}.get(style, "drums")
    if style == "folk" and rng.random() < 0.3:
        stratum = "waltz"
    drawn = draw_plan(seed, stratum)
    plan = _PLANNERS[style](replace(drawn, duration_s=CLIP_S, drums_from_bar=0, tuning_cents=0.0), rng)
    plan = replace(plan, velocity=float(rng.uniform(0.35, 1.0)) * _TOUCH.get(style, 1.0))
    piece = compose_plan(plan)
    kits = _KITS.get(style, (0,))
    kit = int(rng.choice(kits))
    voices = tuple(replace(voice, program=kit) if voice.name == "drums" else voice for voice in piece.voices)
    return replace(piece, voices=voices)


def mood_of(piece: Piece) -> Mood:
    """What listeners would say, as far as structure decides it: cues add up (T. Eerola, A. Friberg, R.
    Bresin, "Emotional expression in music: contribution, linearity, and additivity of primary musical cues",
    2013; the signs after A. Gabrielsson, E. Lindström, "The role of structure in the musical expression of
    emotions", 2010).

    Valence: mode before all, then tempo, and dissonance against it. Arousal: tempo, touch, how many notes
    there are, and drums.
    """
    plan = piece.plan
    quickness = math.log2(plan.bpm / 105.0)
    touch = (plan.velocity - 0.65) / 0.3
    notes = sum(len(voice.notes) for voice in piece.voices) / (plan.duration_s + piece.lead_s)
    density = math.log2(max(notes, 0.5) / 9.0) / 2.0
    drums = 1.0 if plan.groove is not None else -1.0
    valence = (
        0.6 * (1.0 if plan.key.is_major else -1.0) + 0.4 * quickness + 0.1 * density - 0.1 * plan.sevenths
    )
    arousal = 0.55 * quickness + 0.3 * touch + 0.35 * density + 0.3 * drums
    return Mood(math.tanh(valence), math.tanh(arousal))


def as_recorded(samples: Samples, seed: int) -> Samples:
    """float32 [samples] at 44.1 kHz as some studio would hand it out: tilted by up to 6 dB between the lows
    and the heights, pressed against full scale or not, with noise under it, louder or softer."""
    rng = np.random.default_rng((seed, 78))
    spectrum = np.fft.rfft(samples.astype(np.float64))
    octaves = np.log2(np.maximum(np.arange(len(spectrum)), 1) * 44_100 / len(samples) / 1000.0)
    spectrum *= 10 ** (rng.uniform(-6, 6) / 20 * np.clip(octaves / 4, -1, 1))
    signal = np.fft.irfft(spectrum, len(samples))
    signal /= max(float(np.abs(signal).max()), 1e-9)
    drive = float(rng.choice((0.0, 1.0, 2.5)))
    signal = np.tanh(drive * signal) / math.tanh(drive) if drive else signal
    signal += 10 ** (rng.uniform(-80, -50) / 20) * rng.standard_normal(len(signal))
    return (signal * 10 ** (rng.uniform(-20, 0) / 20)).astype(np.float32)


_TOUCH = {"ambient": 0.7, "classical": 0.9, "folk": 0.9, "rock": 1.0}


def _number(rng: np.random.Generator, choices: Sequence[int]) -> int:
    return int(rng.choice(choices))


def _bpm(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _groove(
    rng: np.random.Generator,
    feel: str,
    subdivision: Sequence[int],
    kicks: Sequence[tuple[float, ...]],
    timekeepers: Sequence[int] = (CLOSED_HAT,),
    backbeats: Sequence[int] = (SNARE,),
) -> Groove:
    chosen = kicks[int(rng.integers(len(kicks)))]
    return Groove(
        feel,
        _number(rng, subdivision),
        _number(rng, timekeepers),
        _number(rng, backbeats),
        chosen,
        _number(rng, (0, 4, 8)),
    )


def _ambient(plan: Plan, rng: np.random.Generator) -> Plan:
    return replace(
        plan,
        bpm=_bpm(rng, 60, 90),
        groove=None,
        beats_of_chord=8,
        comping=str(rng.choice(("whole", "whole", "arpeggio"))) if rng.random() < 0.8 else None,
        chord_program=_number(rng, (88, 89, 91, 92, 94, 95, 14, 98, 99)),
        bass="wholes" if rng.random() < 0.5 else None,
        bass_program=_number(rng, (38, 39, 35, 89)),
        melody_program=_number(rng, (88, 98, 99, 11, 75, 79, 4)) if rng.random() < 0.5 else None,
        notes_per_beat=float(rng.uniform(0.2, 0.6)),
        pad_program=_number(rng, (88, 89, 90, 91, 92, 93, 94, 95, 50, 52)),
        jitter_s=float(rng.uniform(0.005, 0.02)),
    )


def _classical(plan: Plan, rng: np.random.Generator) -> Plan:
    return replace(
        plan,
        bpm=_bpm(rng, 60, 150),
        groove=None,
        drift=float(rng.uniform(0.01, 0.05)),
        sevenths=bool(rng.random() < 0.15),
        comping=str(rng.choice(("arpeggio", "eighths", "quarters", "halves", "whole"))),
        chord_program=_number(rng, (0, 0, 6, 46, 48, 49, 45, 19)),
        bass=str(rng.choice(("quarters", "halves", "wholes"))),
        bass_program=_number(rng, (42, 43, 48, 0)),
        melody_program=_number(rng, (40, 41, 42, 68, 70, 71, 73, 60, 0, 48)),
        notes_per_beat=float(rng.uniform(0.8, 2.2)),
        pad_program=_number(rng, (48, 49, 60)) if rng.random() < 0.4 else None,
    )


def _electronic(plan: Plan, rng: np.random.Generator) -> Plan:
    return replace(
        plan,
        bpm=_bpm(rng, 112, 145),
        groove=_groove(
            rng, "four on the floor", (2, 4), ((0.0, 1.0, 2.0, 3.0),), (CLOSED_HAT, OPEN_HAT), (CLAP, SNARE)
        ),
        jitter_s=0.0,
        sevenths=bool(rng.random() < 0.2),
        comping=str(rng.choice(("offbeats", "eighths", "whole", "arpeggio"))),
        chord_program=_number(rng, (80, 81, 82, 84, 86, 87, 90, 62, 63)),
        bass=str(rng.choice(("eighths", "kicks", "quarters"))),
        bass_program=_number(rng, (38, 39)),
        melody_program=_number(rng, (80, 81, 82, 84, 87)) if rng.random() < 0.7 else None,
        pad_program=_number(rng, (89, 90, 94, 95)) if rng.random() < 0.5 else None,
    )


def _folk(plan: Plan, rng: np.random.Generator) -> Plan:
    shaken = rng.random() < 0.3 and plan.meter == 4
    return replace(
        plan,
        bpm=_bpm(rng, 75, 140),
        groove=_groove(rng, "ballad", (2,), ((0.0,),), (SHAKER,), (STICK,)) if shaken else None,
        sevenths=bool(rng.random() < 0.1),
        comping=str(rng.choice(("arpeggio", "eighths", "quarters"))),
        chord_program=_number(rng, (24, 25, 25, 105, 15)),
        bass=str(rng.choice(("halves", "quarters"))) if rng.random() < 0.6 else None,
        bass_program=_number(rng, (32, 25)),
        melody_program=_number(rng, (22, 40, 73, 25, 21, 110, 105, 24)),
        pad_program=None,
    )


def _funk(plan: Plan, rng: np.random.Generator) -> Plan:
    kicks = ((0.0, 0.75, 2.5), (0.0, 1.5, 2.25), (0.0, 0.5, 2.75), (0.0, 1.75, 2.5, 3.25))
    return replace(
        plan,
        bpm=_bpm(rng, 88, 122),
        groove=_groove(rng, "funk", (4,), kicks),
        sevenths=True,
        comping=str(rng.choice(("offbeats", "charleston", "eighths"))),
        chord_program=_number(rng, (27, 28, 7, 4, 16, 26)),
        bass="kicks",
        bass_program=_number(rng, (33, 36, 37)),
        melody_program=_number(rng, (61, 65, 56, 66, 57)) if rng.random() < 0.6 else None,
        notes_per_beat=float(rng.uniform(1.0, 2.5)),
        pad_program=None,
    )


def _hip_hop(plan: Plan, rng: np.random.Generator) -> Plan:
    kicks = ((0.0, 2.5), (0.0, 1.5, 2.75), (0.0, 0.75, 2.5), (0.0, 2.25, 2.5))
    return replace(
        plan,
        bpm=_bpm(rng, 70, 102),
        groove=_groove(rng, "backbeat", (2, 4, 4), kicks, (CLOSED_HAT,), (SNARE, CLAP)),
        jitter_s=float(rng.uniform(0.0, 0.012)),
        comping=str(rng.choice(("whole", "halves", "charleston"))),
        chord_program=_number(rng, (4, 5, 0, 88, 48, 11)),
        bass=str(rng.choice(("kicks", "wholes", "kicks"))),
        bass_program=_number(rng, (38, 39, 35)),
        melody_program=_number(rng, (11, 80, 4, 73, 98)) if rng.random() < 0.5 else None,
        notes_per_beat=float(rng.uniform(0.4, 1.2)),
        pad_program=_number(rng, (89, 50)) if rng.random() < 0.3 else None,
    )


def _jazz(plan: Plan, rng: np.random.Generator) -> Plan:
    kicks = ((0.0, 1.0, 2.0, 3.0), (0.0, 2.0))
    brushed = rng.random() < 0.85
    return replace(
        plan,
        bpm=_bpm(rng, 80, 190),
        groove=_groove(rng, "swing", (2,), kicks, (RIDE,)) if brushed else None,
        swing=float(rng.uniform(0.6, 0.68)),
        sevenths=True,
        comping=str(rng.choice(("charleston", "halves", "quarters", "offbeats"))),
        chord_program=_number(rng, (0, 0, 26, 11, 4)),
        bass="walking",
        bass_program=32,
        melody_program=_number(rng, (56, 65, 66, 64, 11, 26, 0, 71)),
        notes_per_beat=float(rng.uniform(1.0, 2.2)),
        pad_program=None,
    )


def _rock(plan: Plan, rng: np.random.Generator) -> Plan:
    kicks = ((0.0, 2.0), (0.0, 2.0, 2.5), (0.0, 1.5, 2.0), (0.0, 0.5, 2.0))
    return replace(
        plan,
        bpm=_bpm(rng, 92, 170),
        groove=_groove(rng, "rock", (2, 2, 1), kicks, (CLOSED_HAT, RIDE, OPEN_HAT)),
        sevenths=False,
        comping=str(rng.choice(("eighths", "quarters", "whole", "halves"))),
        chord_program=_number(rng, (29, 30, 30, 27)),
        bass=str(rng.choice(("eighths", "quarters", "kicks"))),
        bass_program=_number(rng, (33, 34)),
        melody_program=_number(rng, (29, 30, 27, 18)) if rng.random() < 0.6 else None,
        pad_program=None,
    )


_PLANNERS = {
    "ambient": _ambient,
    "classical": _classical,
    "electronic": _electronic,
    "folk": _folk,
    "funk": _funk,
    "hip-hop": _hip_hop,
    "jazz": _jazz,
    "rock": _rock,
}
