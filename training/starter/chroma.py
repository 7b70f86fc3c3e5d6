"""The chroma of a melody as MusicGen's conditioner has it: the loudest pitch class of each 128 ms."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from deployments.audio.samples import Samples

EXPONENT = 13
PitchClasses = np.ndarray[Any, np.dtype[np.uint8]]


def pitch_classes(tune: Samples, rate_hz: int) -> PitchClasses:
    """float32 [1, samples] -> uint8 [frames], 0 for C."""
    with torch.inference_mode():
        chroma = _extractor(rate_hz)(torch.from_numpy(np.ascontiguousarray(tune))[None])
    classes: PitchClasses = chroma[0].argmax(-1).numpy().astype(np.uint8)
    return classes


def speed_of(semitones: int) -> float:
    """How many times as fast a tape is played that sounds so many semitones higher."""
    return float(2 ** (semitones / 12))


def at_speed(classes: PitchClasses, semitones: int) -> PitchClasses:
    """The chroma of the same tune from a tape that is played so many semitones faster or slower."""
    speed = speed_of(semitones)
    frames = np.round(np.arange(int(len(classes) / speed)) * speed).astype(int)
    moved: PitchClasses = ((classes[frames.clip(max=len(classes) - 1)].astype(int) + semitones) % 12).astype(
        np.uint8
    )
    return moved


@cache
def _extractor(rate_hz: int) -> Any:
    from deployments.engines.music.audiocraft.importing import import_audiocraft

    import_audiocraft()
    from audiocraft.modules.chroma import ChromaExtractor

    return ChromaExtractor(sample_rate=rate_hz, n_chroma=12, radix2_exp=EXPONENT, argmax=True)
