"""Clips and what the model makes of them, as WAV to be heard and as spectrograms to be looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from benchmarks.starter.continuation import CLIP_S, NEW_S, START_S
from benchmarks.starter.player import Player
from benchmarks.starter.songs import CODEC_RATE_HZ, Song
from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.engines.music.protocol import GenerationMode
from deployments.export.spectrum import spectrogram

PROMPTS = (
    "slow lo-fi, electric piano, 84 bpm, A minor",
    "house, 124 bpm, F minor",
    "rock, electric guitar, 140 bpm, E minor",
    "jazz, piano and bass, 110 bpm, Bb major",
)
WIDTH, HEIGHT = 960, 200
_SEAM = (209, 73, 91)
_LOW, _MIDDLE, _HIGH = (10, 12, 28), (48, 99, 142), (255, 244, 214)


def write(folder: Path, songs: Sequence[Song], player: Player) -> None:
    """`continued-N` (a clip of a test song and, after the red line, a take) and `prompt-N`, each .wav and .png."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, song in enumerate(songs, 1):
        clip = song.mix(START_S, CLIP_S)
        context = resample(clip, CODEC_RATE_HZ, player.rate_hz)
        take = player.take(GenerationMode.CONTINUE, "", NEW_S, number, context)
        whole = np.concatenate([context, take], axis=1)
        _write(folder / f"continued-{number}", whole, player.rate_hz, seam=CLIP_S / (CLIP_S + NEW_S))
    for number, prompt in enumerate(PROMPTS, 1):
        take = player.take(GenerationMode.TEXT, prompt, 2 * NEW_S, number)
        _write(folder / f"prompt-{number}", take, player.rate_hz, seam=None)


def _write(path: Path, samples: Samples, rate_hz: int, *, seam: float | None) -> None:
    soundfile.write(path.with_suffix(".wav"), samples.T, rate_hz, subtype="PCM_16")
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as name:
        track = Path(name, "track.wav")
        with TrackWriter(track, rate_hz, samples.shape[0]) as writer:
            writer.append(samples)
        levels = spectrogram(TrackReader(track), WIDTH, HEIGHT)
    colours = [np.interp(levels, (0.3, 0.65, 1.0), each) for each in zip(_LOW, _MIDDLE, _HIGH, strict=True)]
    picture = np.stack(colours, axis=-1).astype(np.uint8)
    if seam is not None:
        picture[:, round(seam * WIDTH)] = _SEAM
    Image.fromarray(picture).quantize(64).save(path.with_suffix(".png"), optimize=True)
