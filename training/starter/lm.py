"""Train the starter's language model, and the text encoder with it, on the codec's tokens.

    python -m training.starter.lm --runs RUNS --minutes 180 --resume

Windows are as the engine has them: 30 s of tokens behind a whole prefix of chroma and text. Some have no chroma,
some the chroma of their own music (the mode `melody`), and some that of their beginning again and again
(`continue`, where the engine knows no more than that).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.local_config import SEPARATOR_FOLDER, TEXT_ENCODER_FOLDER
from deployments.engines.music.audiocraft.local_networks import companions
from deployments.engines.music.audiocraft.quiet import quietly
from deployments.engines.separation.demucs.tiny import write_htdemucs
from training.starter.captions import caption
from training.starter.codec import load_codec
from training.starter.configs import FRAME_RATE_HZ, WINDOW_S, starter_lm_config
from training.starter.sitting import Sitting, arguments, open_sitting, rate_of
from training.starter.songs import songs_folder, transposed, truth_of
from training.starter.text_encoder import load_text_encoder, write_text_encoder

BATCH_FRAMES = 3000
RATE = 1.5e-3
EMBEDDING_SCALE, HEAD_SCALE = 0.5, 0.06
"""What their entries begin with, root mean square."""

WINDOW_FRAMES = WINDOW_S * FRAME_RATE_HZ
SHORT_FRAMES = 750
LOOK_EVERY = 200
CHROMA_HOP_S = 0.128
CHROMA_FRAMES = 235
NO_CHROMA = 0
"""What audiocraft's chroma makes of silence, and so of no melody at all."""

BOTH_DROPPED, TEXT_DROPPED = 0.1, 0.15
IGNORED = -100
OWN_CHROMA, REPEATED_CHROMA = 0.25, 0.3
BADLY_SEPARATED = 0.4
"""How often the chroma is that of the mix: a separator leaves some of it in every stem."""


class StarterLm(nn.Module):
    """audiocraft's `LMModel` with a text encoder that learns: audiocraft's own keeps that outside the model."""

    def __init__(self, companions_folder: Path) -> None:
        super().__init__()
        import_audiocraft()
        from audiocraft.models import builders
        from omegaconf import OmegaConf

        folder = companions_folder
        if not (folder / TEXT_ENCODER_FOLDER).is_dir():
            write_text_encoder(folder / TEXT_ENCODER_FOLDER)
        if not (folder / SEPARATOR_FOLDER).is_dir():  # asked for by the conditioner, and not used here
            (folder / SEPARATOR_FOLDER).mkdir()
            write_htdemucs(folder / SEPARATOR_FOLDER, "htdemucs")
        config = OmegaConf.create(starter_lm_config())
        with companions(folder) as redirect, quietly():
            redirect(config)
            self.lm: Any = builders.get_lm_model(config)
        self.text: Any = load_text_encoder(folder / TEXT_ENCODER_FOLDER)
        conditioners = self.lm.condition_provider.conditioners
        self.tokenizer: Any = conditioners["description"].t5_tokenizer

    def forward(self, codes: Tensor, captions: list[str], chroma: Tensor) -> Tensor:
        """Codes int64 [B, K, frames], chroma [B, CHROMA_FRAMES] -> the tokens' mean cross entropy, nats."""
        return self.losses(codes, captions, chroma).mean()

    def losses(self, codes: Tensor, captions: list[str], chroma: Tensor) -> Tensor:
        """As `forward`, the mean of each codebook: [K]."""
        output = self.lm.compute_predictions(codes, [], self._conditions(captions, chroma))
        targets = codes.masked_fill(~output.mask, IGNORED)
        losses = functional.cross_entropy(
            output.logits.flatten(0, 2).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
        ).view_as(codes)
        means: Tensor = losses.sum((0, 2)) / output.mask.sum((0, 2))
        return means

    def _conditions(self, captions: list[str], chroma: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """As `T5Conditioner` and `ChromaStemConditioner` give them, in the order in which they are fused."""
        conditioners = self.lm.condition_provider.conditioners
        inputs = self.tokenizer(captions, return_tensors="pt", padding=True).to(chroma.device)
        mask = inputs["attention_mask"]
        mask[[index for index, text in enumerate(captions) if not text]] = 0
        words = conditioners["description"].output_proj(self.text(**inputs).last_hidden_state)
        words = words * mask.unsqueeze(-1)
        classes = functional.one_hot(chroma, 12).to(words.dtype)
        tune = conditioners["self_wav"].output_proj(classes)
        return {"description": (words, mask), "self_wav": (tune, torch.ones_like(tune[..., 0]))}


@torch.no_grad()
def know_codebooks(lm: Any, codec: Any) -> None:
    """Embeddings and heads begin as the codec's own entries, projected at random: entries that sound alike begin
    alike, so that what is learnt of one holds for its neighbours. After 90 updates of 1,000 frames a token needs
    9.40 bits; with random beginnings 9.62, more than the 9.50 of its frequency alone."""
    for number, (embedding, head) in enumerate(zip(lm.emb, lm.linears, strict=True)):
        entries = codec.quantizer.vq.layers[number]._codebook.embed
        entries = (entries - entries.mean(0)) / entries.std()
        count, width = entries.shape
        for weight, scale in ((embedding.weight, EMBEDDING_SCALE), (head.weight, HEAD_SCALE)):
            projection = torch.randn(width, weight.shape[1], device=weight.device) / width**0.5
            weight[:count] = scale * entries.to(weight.device) @ projection


class Windows:
    """Random windows of all songs there are, each with a caption and a chroma; looks for new ones from time to
    time."""

    def __init__(self, runs: Path, rng: np.random.Generator, *, test: bool = False) -> None:
        self._folder = runs / ("test-tokens" if test else "tokens")
        self._truths = songs_folder(runs, test=test)
        self._rng = rng
        self._songs: dict[str, tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]] = {}
        self._drawn = 0

    def _look(self) -> None:
        for path in sorted(self._folder.glob("*.npz")):
            if path.stem not in self._songs:
                song = dict(np.load(path))
                truth = truth_of(self._truths / re.split("[+-]", path.stem)[0])
                self._songs[path.stem] = song, transposed(truth, int(song["semitones"]))
        if not self._songs:
            raise SystemExit("no tokens: make them with training.starter.tokens")
        self._names = list(self._songs)

    def draw(self, count: int, frames: int) -> tuple[Tensor, list[str], Tensor]:
        """int64 codes [count, K, frames], captions, chroma [count, CHROMA_FRAMES]."""
        if self._drawn % LOOK_EVERY == 0:
            self._look()
        self._drawn += 1
        drawn = [self._one(frames) for _ in range(count)]
        codes = torch.from_numpy(np.stack([codes for codes, _, _ in drawn]))
        tunes = torch.from_numpy(np.stack([tune for _, _, tune in drawn]))
        return codes, [text for _, text, _ in drawn], tunes

    def _one(self, frames: int) -> tuple[np.ndarray[Any, Any], str, np.ndarray[Any, Any]]:
        rng = self._rng
        song, truth = self._songs[self._names[int(rng.integers(len(self._names)))]]
        start = int(rng.integers(song["codes"].shape[1] - frames + 1))
        codes = song["codes"][:, start : start + frames].astype(np.int64)
        if rng.random() < BOTH_DROPPED:
            return codes, "", np.full(CHROMA_FRAMES, NO_CHROMA)
        text = "" if rng.random() < TEXT_DROPPED else caption(truth, rng)
        return codes, text, self._tune(song, start / FRAME_RATE_HZ)

    def _tune(self, song: dict[str, np.ndarray[Any, Any]], start_s: float) -> np.ndarray[Any, Any]:
        rng, first = self._rng, round(start_s / CHROMA_HOP_S)
        chroma = song["mix_chroma" if rng.random() < BADLY_SEPARATED else "chroma"]
        own = chroma[first : first + CHROMA_FRAMES].astype(np.int64)
        draw = rng.random()
        if draw > OWN_CHROMA + REPEATED_CHROMA:
            return np.full(CHROMA_FRAMES, NO_CHROMA)
        if draw > OWN_CHROMA:
            own = own[: int(rng.integers(30, 120))]
        return np.resize(own, CHROMA_FRAMES)


def train(given: argparse.Namespace) -> Sitting:
    sitting, state = open_sitting(given, "lm")
    model = StarterLm(sitting.folder / "companions")
    if state is not None:
        model.load_state_dict(state["model"])
    else:
        know_codebooks(model.lm, load_codec(given.runs))
    model.to(given.device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.05)
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
    rng = np.random.default_rng((sitting.step, 2))
    windows = Windows(given.runs, rng)

    def keep() -> None:
        sitting.keep(model=model.state_dict(), optimiser=optimiser.state_dict())

    while not sitting.is_over:
        frames = SHORT_FRAMES if rng.random() < given.short_share else WINDOW_FRAMES
        codes, captions, tunes = windows.draw(max(1, given.batch_frames // frames), frames)
        for group in optimiser.param_groups:
            group["lr"] = rate_of(sitting, RATE)
        with torch.autocast(given.device.split(":")[0], torch.bfloat16):
            loss = model(codes.to(given.device), captions, tunes.to(given.device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if sitting.stepped(
            bits=loss.item() / float(np.log(2)), audio_s=codes.shape[0] * frames / FRAME_RATE_HZ
        ):
            keep()
    keep()
    return sitting


def load_lm(runs: Path) -> StarterLm:
    """The model of the newest checkpoint, in evaluation mode. Raises FileNotFoundError."""
    folder = runs / "lm"
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    model = StarterLm(folder / "companions")
    model.load_state_dict(state["model"])
    return model.eval().requires_grad_(False)


def main() -> None:
    parser = arguments("Train the starter's language model.")
    parser.add_argument("--batch-frames", type=int, default=BATCH_FRAMES)
    parser.add_argument(
        "--short-share", type=float, default=0.7, help="how many windows are of 15 s, not 30 s"
    )
    train(parser.parse_args())


if __name__ == "__main__":
    main()
