"""A MusicGen loaded through audiocraft's own loaders, with what provenance wants to know about it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from deployments.engines.common.errors import EngineError, ModelUnavailable
from deployments.engines.common.hub.cache import cache_folder, offline
from deployments.engines.common.hub.fetch import fetch
from deployments.engines.common.weights import state_sha256
from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.local_networks import companions, replaced
from deployments.engines.music.audiocraft.quiet import quietly
from deployments.engines.music.audiocraft.starter import ensure_starter
from deployments.engines.music.audiocraft.tiny import TINY_MODELS, ensure_tiny
from deployments.engines.music.catalog import ModelEntry
from deployments.engines.music.needs import of_generator
from deployments.engines.starter import weights as starter


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The two networks of a model on their device, in evaluation mode; `codec` is not yet wrapped for stereo.

    `weights_sha256` is over the tensors as the files hold them, so device and working precision do not
    change it.
    """

    lm: Any
    codec: Any
    weights_sha256: str
    window_s: float

    @property
    def follows_melody(self) -> bool:
        return "self_wav" in self.lm.condition_provider.conditioners


def load_checkpoint(entry: ModelEntry, device: torch.device, cache_dir: Path) -> Checkpoint:
    """Load a model: from its folder, from the hub, or (tiny, starter) from `cache_dir`, where it is made if
    need be.

    Blocks for as long as reading, or downloading, takes. Raises ModelUnavailable.
    """
    weights = of_generator(entry)
    if weights is not None:
        fetch([weights])
    import_audiocraft()
    folder = _folder(entry, cache_dir)
    try:
        # The loaders draw starting values that the checkpoint then overwrites.
        with torch.random.fork_rng(devices=[]), quietly(), offline():
            return _load(str(folder or entry.name), folder, device)
    except EngineError:
        raise
    except Exception as error:
        raise ModelUnavailable(f"{entry.name} cannot be loaded: {error}") from error


def _folder(entry: ModelEntry, cache_dir: Path) -> Path | None:
    if entry.name in TINY_MODELS:
        return ensure_tiny(entry.name, cache_dir)
    return ensure_starter(cache_dir) if entry.name == starter.NAME else entry.folder


def _load(source: str, folder: Path | None, device: torch.device) -> Checkpoint:
    from audiocraft.models import loaders
    from omegaconf import OmegaConf

    cache = str(cache_folder())  # and not AUDIOCRAFT_CACHE_DIR: what was fetched is here
    package = loaders.load_lm_model_ckpt(source, cache_dir=cache)
    lm_sha256 = state_sha256(package["best_state"])
    config = OmegaConf.create(package["xp.cfg"])
    with companions(folder) as redirect, replaced(loaders, "load_lm_model_ckpt", lambda *_, **__: package):
        redirect(config)
        package["xp.cfg"] = OmegaConf.to_yaml(config)
        lm = loaders.load_lm_model(source, device=str(device))
    codec = loaders.load_compression_model(source, device=str(device), cache_dir=cache)
    codec_sha256 = state_sha256(codec.state_dict())
    for network in (lm, codec):
        network.eval().requires_grad_(False)
    if "self_wav" in lm.condition_provider.conditioners:
        _settle_melody(lm.condition_provider.conditioners["self_wav"])
    return Checkpoint(
        lm=lm,
        codec=codec,
        weights_sha256=hashlib.sha256(f"{lm_sha256}{codec_sha256}".encode()).hexdigest(),
        window_s=float(lm.cfg.dataset.segment_duration),
    )


def _settle_melody(conditioner: Any) -> None:
    """What `MusicGen.get_pretrained` sets for inference, and a separation that is the same every time."""
    conditioner.match_len_on_eval = True
    conditioner._use_masking = False
    conditioner._get_stemmed_wav = partial(_stemmed_wav, conditioner)


@torch.no_grad()
def _stemmed_wav(conditioner: Any, wav: torch.Tensor, sample_rate_hz: int) -> torch.Tensor:
    """The melody's stems as `ChromaStemConditioner._get_stemmed_wav` makes them, but without Demucs' random
    time shift, which draws from Python's global `random`. float [B, C, samples] -> [B, 1, samples]."""
    from demucs.apply import apply_model
    from demucs.audio import convert_audio

    separator = conditioner.demucs
    with conditioner.autocast:
        mix = convert_audio(wav, sample_rate_hz, separator.samplerate, separator.audio_channels)
        stems = apply_model(separator, mix, shifts=0, device=conditioner.device)
        melody = stems[:, conditioner.stem_indices].sum(1)
        mono: torch.Tensor = convert_audio(melody, separator.samplerate, conditioner.sample_rate, 1)
        return mono
