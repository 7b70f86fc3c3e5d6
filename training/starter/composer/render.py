"""Songs as stems: one pass of FluidSynth's library, whose groups of channels give the four stems at once."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from deployments.audio.samples import Samples
from training.corpus.midi import DRUM_CHANNEL, Voice
from training.corpus.render import RendererMissing
from training.starter.composer.song import STEMS, Song

RATE_HZ = 44_100
TRAINING_FONTS = ("FluidR3_GM.sf2", "MuseScore_General_Lite.sf3")
"""Both MIT (parts of the second CC0 or public domain): what is learnt from them may be shipped."""

TEST_FONT = "TimGM6mb.sf2"
"""GPL-2: nothing is learnt from it. The figures are measured on it."""

_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "~/.local/share/soundfonts",
)
_GROUPS = {0: "bass", 1: "drums", 2: "other", 3: "vocals"}
"""Channels are dealt out to groups by their remainder: drums are channel 9."""

_BLOCK = 64
_LONGEST_RING_S = 30


def find_font(name: str) -> Path:
    """Raises RendererMissing."""
    for folder in _FOLDERS:
        path = Path(folder).expanduser() / name
        if path.is_file():
            return path
    raise RendererMissing(f"the sound font {name} is not here: see docs/starter.md for its Debian package")


class Synthesiser:
    """FluidSynth with one sound font, loaded once. For one thread. Raises RendererMissing."""

    def __init__(self, font: Path) -> None:
        self._library = _library()
        self._settings = ctypes.c_void_p(self._library.new_fluid_settings())
        for name, number in (("synth.sample-rate", float(RATE_HZ)), ("synth.gain", 0.4)):
            self._library.fluid_settings_setnum(self._settings, name.encode(), ctypes.c_double(number))
        groups = len(_GROUPS)
        for name, value in (
            ("synth.audio-channels", groups),
            ("synth.audio-groups", groups),
            ("synth.reverb.active", 0),
            ("synth.chorus.active", 0),
            ("synth.polyphony", 256),
        ):
            self._library.fluid_settings_setint(self._settings, name.encode(), ctypes.c_int(value))
        self._synth = ctypes.c_void_p(self._library.new_fluid_synth(self._settings))
        if self._library.fluid_synth_sfload(self._synth, str(font).encode(), 1) < 0:
            self.close()
            raise RendererMissing(f"FluidSynth cannot load {font.name}")

    def close(self) -> None:
        self._library.delete_fluid_synth(self._synth)
        self._library.delete_fluid_settings(self._settings)

    def stems(self, voices: tuple[Voice, ...], duration_s: float) -> Samples:
        """float32 [4, 2, samples], in the order of `STEMS`, dry."""
        library, synth = self._library, self._synth
        library.fluid_synth_system_reset(synth)
        self._fall_silent()
        for voice in voices:
            library.fluid_synth_program_change(synth, voice.channel, voice.program)
            library.fluid_synth_cc(synth, voice.channel, 7, voice.gain)
            library.fluid_synth_cc(synth, voice.channel, 10, voice.pan)
        count = round(duration_s * RATE_HZ)
        out = np.zeros((2, len(_GROUPS), count), np.float32)
        now = 0
        for at, is_on, channel, pitch, velocity in _events(voices):
            if at >= count:
                break
            until = at // _BLOCK * _BLOCK
            self._write(out, now, until)
            now = max(now, until)
            if is_on:
                library.fluid_synth_noteon(synth, channel, pitch, velocity)
            else:
                library.fluid_synth_noteoff(synth, channel, pitch)
        self._write(out, now, count)
        order = [next(group for group, stem in _GROUPS.items() if stem == name) for name in STEMS]
        return np.ascontiguousarray(out.transpose(1, 0, 2)[order])

    def _fall_silent(self) -> None:
        """What still rings from the last song is played to nobody; no tone of any font rings for longer."""
        for _ in range(_LONGEST_RING_S):
            rest = np.zeros((2, len(_GROUPS), RATE_HZ), np.float32)
            self._write(rest, 0, RATE_HZ)
            if not rest.any():
                return

    def _write(self, out: Samples, start: int, end: int) -> None:
        if end <= start:
            return
        pointer = ctypes.POINTER(ctypes.c_float)
        sides = [
            (pointer * len(_GROUPS))(
                *[out[side, group, start:].ctypes.data_as(pointer) for group in range(len(_GROUPS))]
            )
            for side in range(2)
        ]
        self._library.fluid_synth_nwrite_float(self._synth, end - start, sides[0], sides[1], None, None)


def render_song(song: Song, synthesiser: Synthesiser) -> Samples:
    """float32 [4, 2, samples]: the stems with their effects; their sum is the mix, at its final level."""
    rng = np.random.default_rng((song.plan.seed, 4713))
    stems = synthesiser.stems(song.voices, song.duration_s)
    wet = float(rng.uniform(0.0, 0.5)) * (2.0 if song.plan.style.family == "ambient" else 1.0)
    room = _room(rng, float(rng.uniform(0.3, 1.4)))
    for index, name in enumerate(STEMS):
        if name != "bass" and wet > 0.05 and np.any(stems[index]):
            share = wet * {"drums": 0.3, "other": 0.7, "vocals": 1.0}[name]
            tail = fftconvolve(stems[index], room, axes=1)[:, : stems.shape[2]]
            stems[index] += (share * tail).astype(np.float32)
    if song.plan.style.id == "lo-fi":
        band = butter(2, float(rng.uniform(3500, 7000)), fs=RATE_HZ, output="sos")
        stems = sosfilt(band, stems, axis=2).astype(np.float32)
    if song.plan.style.family == "rock" and song.plan.style.id != "ballad":
        stems[0] *= 1.15
    peak = float(np.abs(stems.sum(0)).max())
    loud = float(rng.uniform(0.5, 0.95))
    return stems * np.float32(loud / max(peak, 1e-6))


def _room(rng: np.random.Generator, decay_s: float) -> Samples:
    """float32 [2, samples]: a tail of noise that loses its heights first, of unit energy."""
    time = np.arange(round(decay_s * RATE_HZ)) / RATE_HZ
    noise = rng.standard_normal((2, len(time)))
    dull = sosfilt(butter(1, 2500, fs=RATE_HZ, output="sos"), noise, axis=1) * 2
    share = np.clip(time / (0.4 * decay_s), 0, 1)
    tail = ((1 - share) * noise + share * dull) * 10 ** (-3 * time / decay_s)
    tail[:, : round(0.012 * RATE_HZ)] = 0
    room: Samples = (tail / np.sqrt(np.square(tail).sum(1, keepdims=True))).astype(np.float32)
    return room


def _events(voices: tuple[Voice, ...]) -> Iterator[tuple[int, bool, int, int, int]]:
    """(sample, is_on, channel, pitch, velocity) in order; at one moment notes end before others begin."""
    events = []
    for voice in voices:
        for note in voice.notes:
            start = round(note.start_s * RATE_HZ)
            end = max(start + _BLOCK, round(note.end_s * RATE_HZ))
            events.append((start, True, voice.channel, note.pitch, note.velocity))
            if voice.channel != DRUM_CHANNEL:
                events.append((end, False, voice.channel, note.pitch, 0))
    return iter(sorted(events))


@cache
def _library() -> ctypes.CDLL:
    for name in ("libfluidsynth.so.3", "libfluidsynth.so.2", "libfluidsynth.dylib", "libfluidsynth-3.dll"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.new_fluid_settings.restype = ctypes.c_void_p
        library.new_fluid_synth.restype = ctypes.c_void_p
        library.fluid_synth_nwrite_float.argtypes = [
            ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        return library
    raise RendererMissing("FluidSynth's library is not here: install Debian's libfluidsynth3")
