"""A separator's networks in memory, with what provenance wants to know about them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deployments.engines.common.errors import EngineError, ModelUnavailable
from deployments.engines.common.hub.cache import offline
from deployments.engines.common.hub.fetch import fetch
from deployments.engines.common.weights import state_sha256
from deployments.engines.separation.catalog import Origin, SeparatorEntry
from deployments.engines.separation.demucs.packages import load_separator
from deployments.engines.separation.demucs.starter import ensure_starter_separator
from deployments.engines.separation.demucs.tiny import ensure_tiny_separator
from deployments.engines.separation.folder import model_of
from deployments.engines.separation.needs import of_separator
from deployments.engines.separation.protocol import Padding, Part, Strides
from deployments.engines.starter import weights as starter


@dataclass(frozen=True, slots=True)
class Bag:
    """The networks of a model, on the CPU, in float32 and evaluation mode, and what they are as parts."""

    networks: tuple[Any, ...]
    parts: tuple[Part, ...]
    sources: tuple[str, ...]
    sample_rate_hz: int
    channels: int
    weights_sha256: str


def load_bag(entry: SeparatorEntry, cache_dir: Path) -> Bag:
    """Load a model: from its folder, from the hub, or (tiny, starter) from `cache_dir`, where it is made if
    need be.

    Blocks for as long as reading, or downloading, takes. Raises ModelUnavailable.
    """
    weights = of_separator(entry)
    if weights is not None:
        fetch([weights])
    try:
        # Networks draw starting values that the weights then overwrite.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), offline():
            warnings.filterwarnings("ignore", message=".*weight_norm.* is deprecated", category=FutureWarning)
            return bag_of(_load(entry, cache_dir))
    except EngineError:
        raise
    # Demucs ends the process where the package for quantized weights is missing.
    except (Exception, SystemExit) as error:
        raise ModelUnavailable(f"{entry.name} cannot be loaded: {_explained(error)}") from error


def bag_of(model: Any) -> Bag:
    """What a `demucs.apply.BagOfModels` holds."""
    networks = tuple(network.eval().requires_grad_(False) for network in model.models)
    digests = [state_sha256(network.state_dict()) for network in networks]
    return Bag(
        networks=networks,
        parts=tuple(
            part_of(network, weights) for network, weights in zip(networks, model.weights, strict=True)
        ),
        sources=tuple(model.sources),
        sample_rate_hz=int(model.samplerate),
        channels=int(model.audio_channels),
        weights_sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
    )


def part_of(network: Any, weights: Sequence[float]) -> Part:
    """How `demucs.apply.apply_model` treats a network. Those that Demucs would let have a segment of any length
    get none that is longer than their own: memory is sized by that."""
    from demucs.demucs import Demucs
    from demucs.htdemucs import HTDemucs

    segment = int(network.samplerate * network.segment)
    padding, strides = Padding.NONE, None
    if isinstance(network, HTDemucs):
        padding = Padding.WHOLE if network.use_train_segment else Padding.ASKED
    elif isinstance(network, Demucs):
        padding = Padding.STRIDED
        strides = Strides(
            depth=network.depth,
            kernel_samples=network.kernel_size,
            stride_samples=network.stride,
            resamples=network.resample,
        )
    return Part(
        segment_samples=segment,
        longest_samples=segment,
        weights=tuple(float(weight) for weight in weights),
        padding=padding,
        strides=strides,
    )


def _load(entry: SeparatorEntry, cache_dir: Path) -> Any:
    match entry.origin:
        case Origin.MADE if entry.name == starter.NAME:
            return load_separator(ensure_starter_separator(cache_dir), entry.name)
        case Origin.MADE:
            return load_separator(ensure_tiny_separator(entry.name, cache_dir), entry.name)
        case Origin.FOLDER if entry.folder is not None:
            return load_separator(entry.folder, model_of(entry.folder))
        case Origin.HUB:
            from demucs.pretrained import get_model

            # "hf://" keeps Demucs from falling back to its old servers, whose packages are pickles.
            return get_model(f"hf://{entry.name}")
        case _:
            raise ModelUnavailable(f"{entry.name} has no weights")


def _explained(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "its weights are quantized, and the package diffq is not installed"
    return f"{type(error).__name__}: {error}"
