"""Clips in disguise: the same kind of music by other players, on other instruments, through other equipment.

For training alone. Who learns from one sound font, always with the whole band, learns that sound font: a judge of
rhythm that had seen nothing else was right about its own kind and wrong about any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from deployments.audio.samples import Samples
from training.corpus.clips import Clip, corpus_folder, kept
from training.corpus.midi import DRUM_CHANNEL, Voice
from training.corpus.music import STRATA, Piece, Plan, compose_plan, draw_plan
from training.corpus.render import RATE_HZ, find_other_sound_font, find_sound_font, render

DISGUISED_SEEDS = range(4000, 6000)

_KITS = (0, 8, 16, 24, 25, 32, 40)
"""General MIDI level 2: standard, room, power, electronic, analog, jazz, brush."""

_KEPT = {"drums": 0.85, "bass": 0.65, "chords": 0.65, "melody": 0.5, "pad": 0.5}
"""How often a voice plays along."""


def disguised(seeds: Iterable[int], folder: Path | None = None) -> Iterator[Clip]:
    """The disguised clip of each seed; every second is played by a machine. Raises RendererMissing."""
    fonts = (find_sound_font(), find_other_sound_font())
    for seed in seeds:
        rng = np.random.default_rng((seed, 77))
        stratum = STRATA[seed % len(STRATA)]
        plan = draw_plan(seed, stratum)
        is_machine = seed % 2 == 1
        piece = _by_others(compose_plan(_by_a_machine(plan, rng) if is_machine else plan), rng)
        font = fonts[1 if is_machine else int(rng.integers(len(fonts)))]
        path = render(piece, folder or corpus_folder(), font)
        path = kept(path, f"disguised-{seed}", partial(_through_equipment, rng=rng))
        yield Clip(seed, stratum, "disguised", path, piece.truth)


def _by_a_machine(plan: Plan, rng: np.random.Generator) -> Plan:
    """Nothing early, late or louder, no fills, and now and then as many strokes as no drummer would play."""
    groove = plan.groove
    if groove is not None and groove.feel != "swing":
        strokes = (1, 2, 2) if plan.bpm > 130 else (2, 2, 4) if plan.bpm < 95 else (1, 2, 2, 4)
        groove = replace(groove, fill_every=0, subdivision=int(rng.choice(strokes)))
    return replace(plan, jitter_s=0.0, groove=groove)


def _by_others(piece: Piece, rng: np.random.Generator) -> Piece:
    voices = [_played_by_another(voice, rng) for voice in piece.voices if rng.random() < _KEPT[voice.name]]
    if not any(voice.name != "pad" for voice in voices):  # nothing that has a rhythm
        voices = [_played_by_another(voice, rng) for voice in piece.voices if voice.name != "pad"]
    return replace(piece, voices=tuple(voices))


def _played_by_another(voice: Voice, rng: np.random.Generator) -> Voice:
    gain = int(np.clip(voice.gain * np.exp(0.45 * rng.standard_normal()), 20, 127))
    program = int(rng.choice(_KITS)) if voice.channel == DRUM_CHANNEL else voice.program
    return replace(voice, gain=gain, program=program)


def _through_equipment(samples: Samples, rng: np.random.Generator) -> Samples:
    """With a tilted and uneven frequency response, driven into saturation now and then, with some noise."""
    spectrum = np.fft.rfft(samples)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE_HZ), 20) / 1000)
    response_db = float(rng.uniform(-3, 3)) * octaves
    for _ in range(3):
        center, width = float(rng.uniform(-4.5, 3.5)), float(rng.uniform(0.5, 1.5))
        response_db += float(rng.uniform(-9, 9)) * np.exp(-0.5 * ((octaves - center) / width) ** 2)
    shaped = np.fft.irfft(spectrum * 10 ** (response_db / 20), len(samples))
    shaped /= max(float(np.abs(shaped).max()), 1e-6)
    if rng.random() < 0.3:
        drive = float(rng.uniform(1.5, 6))
        shaped = np.tanh(drive * shaped) / np.tanh(drive)
    noise = 10 ** (float(rng.uniform(-80, -30)) / 20) * rng.standard_normal(len(shaped))
    changed: Samples = (0.7 * (shaped + noise) / 1.1).astype(np.float32)
    return changed
