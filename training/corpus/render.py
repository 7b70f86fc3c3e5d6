"""Pieces as audio: FluidSynth with a General MIDI sound font, its own reverb and chorus off."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from deployments.audio.samples import Samples
from training.corpus.midi import Voice, encode
from training.corpus.music import Piece

RATE_HZ = 44_100
SOUND_FONT_VARIABLE = "SEGUE_SOUND_FONT"

_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/usr/local/share/sounds/sf2",
    "~/.local/share/soundfonts",
)
_OTHER = "TimGM6mb.sf2"
_NAMES = ("FluidR3_GM.sf2", "default-GM.sf2", _OTHER, "default.sf2")
_PEAK = 0.7
_VERSION = b"1"
"""Changes with what a rendering sounds like, so that older ones are not taken for it."""


class RendererMissing(Exception):
    """FluidSynth or a sound font is not here."""


def find_sound_font() -> Path:
    """The file that `SEGUE_SOUND_FONT` names, else one in the usual places. Raises RendererMissing."""
    named = os.environ.get(SOUND_FONT_VARIABLE)
    font = _first([Path(named)] if named else _usual(_NAMES))
    if font is None:
        raise RendererMissing(
            f"no sound font: install Debian's fluid-soundfont-gm, or name an .sf2 file in {SOUND_FONT_VARIABLE}"
        )
    return font


def find_other_sound_font() -> Path:
    """A smaller one that sounds different. Raises RendererMissing."""
    font = _first(_usual([_OTHER]))
    if font is None:
        raise RendererMissing("no second sound font: install Debian's timgm6mb-soundfont")
    return font


def named_sound_font(name: str) -> Path:
    """The file of this name in the usual places. Raises RendererMissing."""
    font = _first(_usual([name]))
    if font is None:
        raise RendererMissing(f"no sound font {name}")
    return font


def _usual(names: Sequence[str]) -> list[Path]:
    return [Path(folder).expanduser() / name for name in names for folder in _FOLDERS]


def _first(paths: Sequence[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def render(piece: Piece, folder: Path, font: Path | None = None) -> Path:
    """A FLAC file of the piece in `folder`, mono, 44.1 kHz, exactly `plan.duration_s` long; made only once.
    `font` is `find_sound_font()` unless told.

    Raises RendererMissing, and CalledProcessError where FluidSynth fails.
    """
    plan = piece.plan
    name = f"{plan.stratum.replace(' ', '-')}-{plan.seed}"
    return render_voices(
        piece.voices,
        name,
        folder,
        font or find_sound_font(),
        lead_s=piece.lead_s,
        duration_s=plan.duration_s,
        tuning_cents=plan.tuning_cents,
    )


def render_voices(
    voices: Sequence[Voice],
    name: str,
    folder: Path,
    font: Path,
    *,
    lead_s: float,
    duration_s: float,
    tuning_cents: float,
) -> Path:
    """As `render`: `duration_s` of the voices from `lead_s` on, in a file whose name begins with `name`."""
    end_s = lead_s + duration_s
    song = encode(voices, end_s=end_s + 0.1, tuning_cents=tuning_cents)
    count = round(duration_s * RATE_HZ)
    first = round(lead_s * RATE_HZ)
    key = hashlib.sha256(b"|".join([_VERSION, font.name.encode(), b"%d" % first, b"%d" % count, song]))
    path = folder / f"{name}-{key.hexdigest()[:16]}.flac"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        samples = _synthesise(song, font)[first : first + count]
        samples = np.pad(samples, (0, count - len(samples)))
        samples *= _PEAK / max(float(np.abs(samples).max()), 1e-6)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            made = Path(unfinished, path.name)
            soundfile.write(made, samples, RATE_HZ, subtype="PCM_16")
            made.replace(path)
    return path


def _synthesise(song: bytes, font: Path) -> Samples:
    """float32 [samples]."""
    program = shutil.which("fluidsynth")
    if program is None:
        raise RendererMissing("fluidsynth is not on PATH: install Debian's fluidsynth")
    with tempfile.TemporaryDirectory(prefix="segue-corpus-") as folder:
        midi, wave = Path(folder, "song.mid"), Path(folder, "song.wav")
        midi.write_bytes(song)
        settings = [
            "-ni",
            "-q",
            "-R",
            "0",
            "-C",
            "0",
            "-g",
            "0.6",
            "-r",
            str(RATE_HZ),
            "-O",
            "float",
            "-T",
            "wav",
            # Fonts of hundreds of megabytes load only what is played.
            "-o",
            "synth.dynamic-sample-loading=1",
        ]
        subprocess.run(
            [program, *settings, "-F", str(wave), str(font), str(midi)],
            check=True,
            capture_output=True,
            timeout=120,
        )
        samples: Samples = soundfile.read(wave, dtype="float32", always_2d=True)[0].mean(axis=1)
    return samples
