"""The hydra configs of the starter checkpoint: the shapes of facebook/musicgen-melody, with numbers of our own."""

from __future__ import annotations

from typing import Any

from deployments.engines.music.audiocraft.tiny_configs import codec_config, lm_config
from training.starter.songs import CODEC_RATE_HZ

CODEBOOKS = 4
CODEBOOK_SIZE = 1024
FRAME_RATE_HZ = 50
WINDOW_S = 30
RATIOS = (5, 8, 8)
TEXT_ENCODER = "starter-t5"
TEXT_WIDTH = 128


def starter_codec_config() -> dict[str, Any]:
    """16 kHz: of what two cores learn in some hours it sounds better than 32 kHz (see docs/starter.md)."""
    config = codec_config()
    config["sample_rate"] = CODEC_RATE_HZ
    config["seanet"].update(dimension=128, n_filters=16, ratios=list(RATIOS), lstm=1)
    # A batch has fewer frames than there are entries: Meta's threshold of 2 would call all of them dead.
    config["rvq"].update(n_q=CODEBOOKS, bins=CODEBOOK_SIZE, threshold_ema_dead_code=0.02)
    return config


def starter_lm_config() -> dict[str, Any]:
    """Text and chroma both go before the tokens, as in musicgen-melody. A chroma frame is 128 ms, as there."""
    config = lm_config(melody=True, stereo=False)
    config["sample_rate"] = CODEC_RATE_HZ
    config["transformer_lm"].update(dim=256, num_heads=4, num_layers=8, card=CODEBOOK_SIZE)
    config["conditioners"]["self_wav"]["chroma_stem"]["radix2_exp"] = 13
    config["conditioners"]["description"]["t5"].update(name=TEXT_ENCODER, word_dropout=0.0)
    config["dataset"]["segment_duration"] = WINDOW_S
    return config
