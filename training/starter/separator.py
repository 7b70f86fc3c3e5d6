"""Train the starter's separator: a small HTDemucs on the stems of the songs.

    python -m training.starter.separator --runs RUNS --minutes 120 --resume

Half of the mixes are songs; for the other half the stems come from four songs. Gains, sides and polarity vary.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from training.starter.composer.song import STEMS
from training.starter.sitting import Sitting, arguments, open_sitting, rate_of
from training.starter.songs import finished, songs_folder, stems_of

ARGUMENTS: dict[str, Any] = {
    "sources": list(STEMS),
    "channels": 16,
    "growth": 2,
    "nfft": 2048,
    "depth": 4,
    "t_layers": 2,
    "t_heads": 4,
    "bottom_channels": 96,
    "t_hidden_scale": 2.0,
    "dconv_depth": 1,
    "segment": 4,
    "use_train_segment": True,
}
CROP_S = 4.0
BATCH = 2
RATE = 6e-4


def new_separator() -> Any:
    from demucs.htdemucs import HTDemucs

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm.* is deprecated", category=FutureWarning)
        return HTDemucs(**ARGUMENTS)


class Mixes:
    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self._folder = folder
        self._rng = rng
        self._songs: list[Path] = []
        self._drawn = 0

    def draw(self, count: int) -> Tensor:
        """float32 [count, sources, 2, samples]: what adds up to the mix."""
        if self._drawn % 200 == 0:
            self._songs = finished(self._folder)
            if not self._songs:
                raise SystemExit(f"no songs in {self._folder}: make them with training.starter.songs")
        self._drawn += 1
        return torch.from_numpy(np.stack([self._one() for _ in range(count)]))

    def _one(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        rng = self._rng
        if rng.random() < 0.5:
            stems = self._crop()
        else:
            stems = np.stack([self._crop()[index] for index in range(len(STEMS))])
        gains = 10 ** (rng.uniform(-5, 5, size=(len(STEMS), 1, 1)) / 20)
        gains *= np.where(rng.random((len(STEMS), 1, 1)) < 0.5, -1, 1)
        if rng.random() < 0.5:
            stems = stems[:, ::-1]
        return (stems * gains).astype(np.float32)

    def _crop(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        rng = self._rng
        song = self._songs[int(rng.integers(len(self._songs)))]
        longest_s = soundfile.info(song.with_suffix(".flac")).duration
        return stems_of(song, float(rng.uniform(0, longest_s - CROP_S)), CROP_S)


def train(given: argparse.Namespace) -> Sitting:
    sitting, state = open_sitting(given, "separator")
    network = new_separator().to(given.device).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    if state is not None:
        network.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    mixes = Mixes(songs_folder(given.runs), np.random.default_rng((sitting.step, 3)))

    def keep() -> None:
        sitting.keep(model=network.state_dict(), optimiser=optimiser.state_dict())

    while not sitting.is_over:
        for group in optimiser.param_groups:
            group["lr"] = rate_of(sitting, RATE)
        stems = mixes.draw(given.batch).to(given.device)
        mix = stems.sum(1)
        with torch.autocast(given.device.split(":")[0], torch.bfloat16, enabled=given.bfloat16):
            made = network(mix)
        level = mix.square().mean((1, 2)).sqrt().clamp_min(1e-3)
        errors = (made.float() - stems).abs().mean((2, 3)) / level[:, None]
        loss = errors.mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        figures = {name: errors[:, index].mean().item() for index, name in enumerate(STEMS)}
        if sitting.stepped(loss=loss.item(), **figures):
            keep()
    keep()
    return sitting


def load_separator_state(runs: Path) -> dict[str, Tensor]:
    """Of the newest checkpoint. Raises FileNotFoundError."""
    state: dict[str, Tensor] = torch.load(
        runs / "separator" / "checkpoint.pt", map_location="cpu", weights_only=True
    )["model"]
    return state


def main() -> None:
    parser = arguments("Train the starter's separator.")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=False)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
