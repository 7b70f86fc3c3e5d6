"""Networks, engines and tracks that separation is measured with, and how Demucs itself does it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.htdemucs import HTDemucs

from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.engines.common.device import Device
from deployments.engines.separation.catalog import SeparatorOptions, find
from deployments.engines.separation.demucs.bag import bag_of
from deployments.engines.separation.demucs.engine import DemucsEngine
from deployments.engines.separation.options import SeparationOptions
from deployments.engines.separation.track import separate_track

RATE_HZ = 44_100
SOURCES = ("drums", "bass", "other", "vocals")
DEMUCS, SEGUE = "demucs", "segue"
_BLOCK_SAMPLES = 2**20


@dataclass(frozen=True, slots=True)
class Effort:
    """What is measured how often. `minutes` are the two tracks whose peak memory is compared."""

    clip_s: float
    clip_rounds: int
    clips_s: float
    clips_rounds: int
    bag_clip_s: float
    bag_rounds: int
    minutes: tuple[float, float]


FULL = Effort(
    clip_s=20, clip_rounds=3, clips_s=20, clips_rounds=2, bag_clip_s=11, bag_rounds=2, minutes=(5, 30)
)
QUICK = Effort(
    clip_s=6, clip_rounds=1, clips_s=6, clips_rounds=1, bag_clip_s=7, bag_rounds=1, minutes=(0.5, 3)
)


def full_shape(seed: int = 0) -> Any:
    """htdemucs's shape, random weights: Demucs 4.1.0's defaults but for the channels around the transformer, the
    segment, and the residual branches, which its decoders have, too."""
    torch.manual_seed(seed)
    return HTDemucs(list(SOURCES), bottom_channels=512, dconv_mode=3, segment=Fraction(39, 5)).eval()


def bag(networks: Sequence[Any], weights: Sequence[Sequence[float]] | None = None) -> Any:
    """Demucs's own kind of model; it has copies of the networks."""
    return BagOfModels([copy.deepcopy(network) for network in networks], weights)


def engine(model: Any, dtype: str = "float32") -> DemucsEngine:
    """An engine over a bag, which belongs to it from now on."""
    return DemucsEngine.of(find("htdemucs"), bag_of(model), SeparatorOptions(device=Device.CPU, dtype=dtype))


def noise(folder: Path, seconds: float) -> TrackReader:
    random = np.random.default_rng(1)
    left_samples = round(seconds * RATE_HZ)
    with TrackWriter(folder / f"{seconds:g}.wav", RATE_HZ, 2) as writer:
        while left_samples:
            block = random.standard_normal((2, min(left_samples, _BLOCK_SAMPLES)), np.float32)
            writer.append(np.float32(0.1) * block)
            left_samples -= block.shape[1]
    return TrackReader(writer.path)


async def stems_of(by: DemucsEngine, track: TrackReader, options: SeparationOptions) -> Samples:
    """[stems, channels, samples]"""
    stretches = separate_track(by, track, options=options)
    pieces = [np.stack(list(stretch.values())) async for stretch in stretches]
    return np.concatenate(pieces, axis=2)


def demucs_stems_of(model: Any, track: TrackReader) -> Samples:
    """[sources, channels, samples], as `demucs.api.Separator` does it with `shifts=0`."""
    wave = torch.from_numpy(track.read(0, track.samples))
    level = wave.mean(0)
    scaled = (wave - level.mean()) / (level.std() + 1e-8)
    stems: Samples = (apply_model(model, scaled[None], shifts=0)[0] * (level.std() + 1e-8)).numpy()
    return stems + float(level.mean())


def relative_error(stems: Samples, reference: Samples) -> float:
    """The root of the mean square of the difference, by that of the reference."""
    return float(np.sqrt(np.square(stems - reference).mean() / np.square(reference).mean()))
