"""Music of a steady tempo and loudness whose beats are known, at any tempo: drums, bass, chords and a lead."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples
from training.corpus.midi import DRUM_CHANNEL, Note, Voice

_KICK, _SNARE, _HAT, _OPEN_HAT = 36, 38, 42, 46
_PROGRESSIONS = ((0, 5, 3, 4), (0, 3, 5, 4), (0, 4, 5, 3), (5, 3, 0, 4))
_SCALE = (0, 2, 4, 5, 7, 9, 11)
_CHORDS = (4, 0, 89)
_BASSES = (33, 34, 38)
_LEADS = (73, 80, 56)


Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """`beats_s` are every beat's time."""

    voices: tuple[Voice, ...]
    beats_s: Times
    duration_s: float

    def played_at(self, tempo: float) -> Score:
        """The same music `tempo` times as fast: what is at t comes at t / tempo."""
        voices = tuple(
            replace(
                voice,
                notes=tuple(
                    replace(note, start_s=note.start_s / tempo, end_s=note.end_s / tempo)
                    for note in voice.notes
                ),
            )
            for voice in self.voices
        )
        return Score(voices, self.beats_s / tempo, self.duration_s / tempo)


def compose(seed: int, bpm: float, duration_s: float) -> Score:
    """A piece in four, drawn bar by bar."""
    luck = np.random.default_rng((seed, 41))
    beat_s = 60.0 / bpm
    bars = int(np.ceil(duration_s / (4 * beat_s)))
    chords, tonic = luck.choice(len(_PROGRESSIONS)), int(luck.integers(-4, 5))
    parts: dict[str, list[Note]] = {"drums": [], "bass": [], "chords": [], "lead": []}

    def add(part: str, beat: float, length: float, pitch: int, velocity: int) -> None:
        start_s = beat * beat_s
        if start_s < duration_s:
            parts[part].append(Note(start_s, start_s + length * beat_s, pitch, velocity))

    for bar in range(bars):
        degree = _PROGRESSIONS[chords][bar % 4]
        triad = [_pitch(degree + step, 60 + tonic) for step in (0, 2, 4)]
        first = 4.0 * bar
        for half in range(8):
            hat = _OPEN_HAT if half == 7 and luck.random() < 0.3 else _HAT
            add("drums", first + half / 2, 0.2, hat, 64 + int(luck.integers(0, 14)) - 12 * (half % 2))
        for beat in (0.0, 2.0, *([2.5] if luck.random() < 0.5 else [1.5])):
            add("drums", first + beat, 0.2, _KICK, 108 + int(luck.integers(0, 8)))
        for beat in (1.0, 3.0):
            add("drums", first + beat, 0.2, _SNARE, 100 + int(luck.integers(0, 8)))
        for half in range(8):
            if half in (0, 4) or luck.random() < 0.6:
                add("bass", first + half / 2, 0.45, triad[0] - 24 + 12 * (half % 4 == 3), 88)
        for pitch in triad:
            add("chords", first, 3.8, pitch, 62)
            add("chords", first + 2.5, 1.2, pitch, 56)
        beat = 0.0
        while beat < 4:
            length = float(luck.choice((0.5, 0.5, 1.0, 1.5)))
            if luck.random() < 0.8:
                add("lead", first + beat, 0.9 * length, _pitch(int(luck.integers(0, 8)), 72 + tonic), 74)
            beat += length
    programs = {"drums": 0, **{n: int(luck.choice(c)) for n, c in _programs()}}
    voices = [
        Voice(name, DRUM_CHANNEL if name == "drums" else index, programs[name], tuple(notes))
        for index, (name, notes) in enumerate(parts.items())
    ]
    beats_s: Times = beat_s * np.arange(int(np.ceil(duration_s / beat_s)), dtype=np.float64)
    return Score(tuple(voices), beats_s, duration_s)


def _programs() -> tuple[tuple[str, tuple[int, ...]], ...]:
    return ("bass", _BASSES), ("chords", _CHORDS), ("lead", _LEADS)


def _pitch(degree: int, tonic: int) -> int:
    return tonic + 12 * (degree // 7) + _SCALE[degree % 7]


def synthesised(score: Score, rate_hz: int) -> Samples:
    """float32 [1, samples] of plain decaying tones and noise: quick, and without any program or sound font."""
    luck = np.random.default_rng(7)
    sound = np.zeros(round(score.duration_s * rate_hz) + rate_hz)
    for voice in score.voices:
        for note in voice.notes:
            start = round(note.start_s * rate_hz)
            is_drum = voice.channel == DRUM_CHANNEL
            length_s = 0.25 if is_drum else note.end_s - note.start_s + 0.05
            t = np.arange(round(length_s * rate_hz), dtype=np.float64) / rate_hz
            wave = _struck(note.pitch, t, luck) if is_drum else _tone(note.pitch, t)
            level = 0.5 if is_drum else 0.11
            end = min(len(sound), start + len(wave))
            sound[start:end] += (level * note.velocity / 127 * wave)[: end - start]
    sound = sound[: round(score.duration_s * rate_hz)]
    samples: Samples = (0.5 * sound / np.abs(sound).max()).astype(np.float32)[None]
    return samples


def _struck(pitch: int, t: Times, luck: np.random.Generator) -> Times:
    noise = luck.standard_normal(len(t))
    attack = np.minimum(1.0, t / 0.001)
    wave: Times
    if pitch == _KICK:
        wave = attack * np.exp(-18 * t) * np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-30 * t))))
    elif pitch == _SNARE:
        wave = attack * np.exp(-20 * t) * (0.5 * noise + 0.5 * np.sin(2 * np.pi * 190 * t))
    else:
        wave = attack * np.exp(-60 * t) * 0.4 * np.diff(noise, prepend=0.0)
    return wave


def _tone(pitch: int, t: Times) -> Times:
    hz = 440.0 * 2.0 ** ((pitch - 69) / 12)
    shape = np.minimum(1.0, t / 0.005) * np.minimum(1.0, (t[-1] - t) / 0.03) * np.exp(-1.5 * t)
    wave: Times = shape * (
        np.sin(2 * np.pi * hz * t) + 0.4 * np.sin(4 * np.pi * hz * t) + 0.2 * np.sin(6 * np.pi * hz * t)
    )
    return wave
