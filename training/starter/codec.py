"""Train the starter's codec: an autoencoder first, then its quantizer with it.

    python -m training.starter.codec --runs RUNS --minutes 120 --resume

EnCodec in audiocraft's own classes. The loss is the waveform's and that of few spectra, all of audio at one
level.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.quiet import quietly
from training.starter.configs import starter_codec_config
from training.starter.sitting import Sitting, arguments, open_sitting, rate_of
from training.starter.songs import CODEC_RATE_HZ, finished, songs_folder

BATCH = 12
CROP_S = 1.0
RATE = 6e-4
AUTOENCODER_STEPS = 6000
"""How many updates there are before the quantizer is switched on."""

WINDOWS = (2048, 512, 128)
_LEVEL = 0.1


def new_codec() -> Any:
    """An `EncodecModel` with starting values."""
    import_audiocraft()
    from audiocraft.models import builders
    from audiocraft.quantization import core_vq
    from omegaconf import OmegaConf

    # The quantizer shares its entries among machines when it learns; here is one, and flashy is not needed.
    core_vq.flashy = SimpleNamespace(distrib=SimpleNamespace(broadcast_tensors=lambda _: None))
    core_vq.kmeans = k_means
    with quietly():
        return builders.get_compression_model(OmegaConf.create(starter_codec_config()))


def k_means(samples: Tensor, num_clusters: int, num_iters: int = 10) -> tuple[Tensor, Tensor]:
    """(means, how many samples each has). audiocraft's own holds all differences at once: gigabytes."""
    means = samples[torch.randint(len(samples), (num_clusters,), device=samples.device)].clone()
    counts = torch.zeros(num_clusters, device=samples.device)
    for _ in range(min(num_iters, 10)):
        nearest = torch.cdist(samples, means).argmin(-1)
        counts = torch.bincount(nearest, minlength=num_clusters)
        sums = torch.zeros_like(means).index_add_(0, nearest, samples)
        means = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], means)
    return means, counts


class Crops:
    """Random seconds of all songs there are; looks for new ones from time to time."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self._folder = folder
        self._rng = rng
        self._songs: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        self._drawn = 0

    def draw(self, count: int, crop_s: float) -> Tensor:
        """float32 [count, 1, samples], at levels from soft to full; one in five is two songs at once."""
        if self._drawn % 500 == 0:
            self._songs = [np.load(path, mmap_mode="r") for path in finished(self._folder)]
            if not self._songs:
                raise SystemExit(f"no songs in {self._folder}: make them with training.starter.songs")
        self._drawn += 1
        crops = np.stack([self._one(crop_s) for _ in range(count)])
        return torch.from_numpy(crops)[:, None]

    def _one(self, crop_s: float) -> np.ndarray[Any, np.dtype[np.float32]]:
        rng, samples = self._rng, round(crop_s * CODEC_RATE_HZ)
        crop = np.zeros(samples, np.float32)
        for _ in range(2 if rng.random() < 0.2 else 1):
            song = self._songs[int(rng.integers(len(self._songs)))]
            start = int(rng.integers(len(song) - samples))
            crop += song[start : start + samples].astype(np.float32) / 32768
        gain = 10 ** (float(rng.uniform(-10, 4)) / 20) * (-1 if rng.random() < 0.5 else 1)
        heard: np.ndarray[Any, np.dtype[np.float32]] = np.clip(crop * gain, -1, 1).astype(np.float32)
        return heard


def codec_loss(made: Tensor, wanted: Tensor, windows: tuple[int, ...] = WINDOWS) -> tuple[Tensor, Tensor]:
    """(waveform, spectra): each clip is brought to one level, or the loud ones alone would count."""
    level = wanted.square().mean(-1, keepdim=True).sqrt().clamp_min(0.003)
    made, wanted = made * (_LEVEL / level), wanted * (_LEVEL / level)
    wave = (made - wanted).abs().mean() / _LEVEL
    spectra = torch.zeros((), device=made.device)
    for size in windows:
        shape = torch.hann_window(size, device=made.device)
        ours, theirs = (
            torch.stft(x[:, 0], size, size // 4, window=shape, return_complex=True, normalized=True).abs()
            for x in (made, wanted)
        )
        linear = (ours - theirs).abs().mean() / theirs.mean().clamp_min(1e-5)
        logs = ((ours + 1e-4).log() - (theirs + 1e-4).log()).abs().mean()
        spectra = spectra + linear + logs
    return wave, spectra / len(windows)


def run(codec: Any, audio: Tensor, *, quantized: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(audio, penalty, codes) of float32 [B, 1, samples]. In float32: with bfloat16 on a CPU (AMX) the same
    training diverges within fifty steps, at any learning rate."""
    latent = codec.encoder(audio)
    penalty, codes = torch.zeros((), device=audio.device), torch.zeros(0)
    if quantized:
        result = codec.quantizer(latent, codec.frame_rate)
        latent, penalty, codes = result.x, result.penalty, result.codes
    made = codec.decoder(latent)
    return made[..., : audio.shape[-1]], penalty, codes


def train(given: argparse.Namespace) -> Sitting:
    sitting, state = open_sitting(given, "codec")
    codec = new_codec().to(given.device).train()
    optimiser = torch.optim.AdamW(codec.parameters(), lr=RATE, betas=(0.8, 0.99), weight_decay=1e-5)
    is_quantized = False
    if state is not None:
        codec.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        is_quantized = state["is_quantized"]
    crops = Crops(songs_folder(given.runs), np.random.default_rng((sitting.step, 1)))

    def keep() -> None:
        sitting.keep(model=codec.state_dict(), optimiser=optimiser.state_dict(), is_quantized=is_quantized)

    while not sitting.is_over:
        if not is_quantized and sitting.step >= given.autoencoder_steps:
            is_quantized = True
            _start_quantizer(codec, crops, given.device)
        for group in optimiser.param_groups:
            group["lr"] = rate_of(sitting, RATE)
        audio = crops.draw(given.batch, CROP_S).to(given.device)
        made, penalty, codes = run(codec, audio, quantized=is_quantized)
        wave, spectra = codec_loss(made, audio)
        optimiser.zero_grad(set_to_none=True)
        (wave + spectra + 0.25 * penalty).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimiser.step()
        figures = {"wave": wave.item(), "spectra": spectra.item(), "penalty": penalty.detach().item()}
        if is_quantized:
            figures["used_0"] = len(set(codes[:, 0].flatten().tolist())) / codec.cardinality
        if sitting.stepped(**figures):
            keep()
    keep()
    return sitting


@torch.no_grad()
def _start_quantizer(codec: Any, crops: Crops, device: str) -> None:
    """The codebooks' first entries by k-means over many frames at once."""
    latents = [codec.encoder(crops.draw(16, CROP_S).to(device)).float() for _ in range(3)]
    together = torch.cat([latent.transpose(0, 1).flatten(1) for latent in latents], dim=1)[None]
    codec.quantizer(together, codec.frame_rate)


def load_codec(runs: Path, device: str = "cpu") -> Any:
    """The codec of the newest checkpoint, in evaluation mode. Raises FileNotFoundError."""
    state = torch.load(runs / "codec" / "checkpoint.pt", map_location="cpu", weights_only=True)
    codec = new_codec()
    codec.load_state_dict(state["model"])
    return codec.eval().requires_grad_(False).to(device)


def main() -> None:
    parser = arguments("Train the starter's codec.")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--autoencoder-steps", type=int, default=AUTOENCODER_STEPS)
    given = parser.parse_args()
    train(given)


if __name__ == "__main__":
    main()
