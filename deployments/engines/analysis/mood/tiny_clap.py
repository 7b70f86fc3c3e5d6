"""A CLAP of pseudo-random weights, for development and tests: the real code, a folder in transformers'
format, nothing to download. What it says of a clip means nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from deployments.engines.common.built_folder import made_folder

NAME = "tiny-clap"

# Part of the folder's name: count it up with every change to the weights or the files.
VERSION = 1

_WIDTH = 32
_MEL_BINS = 16


def ensure_tiny_clap(cache_dir: Path) -> Path:
    """The model's folder inside `cache_dir`, made if it is not there (see `made_folder`)."""
    return made_folder(cache_dir, f"analyser-{NAME}-v{VERSION}", write_clap)


def write_clap(folder: Path, *, fused: bool = False) -> None:
    """Write a model, its feature extractor and its tokenizer into an existing folder. `fused` as in CLAP's
    models that take in long clips."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    config = ClapConfig(
        text_config={
            "vocab_size": 300,
            "hidden_size": _WIDTH,
            "intermediate_size": 2 * _WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 200,
            "projection_dim": _WIDTH,
            "pad_token_id": 1,
        },
        audio_config={
            "window_size": 4,
            "num_mel_bins": _MEL_BINS,
            "spec_size": 128,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "hidden_size": 2 * _WIDTH,
            "patch_embeds_hidden_size": _WIDTH,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "projection_dim": _WIDTH,
            "enable_fusion": fused,
        },
        projection_dim=_WIDTH,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=_MEL_BINS, sampling_rate=48_000, truncation="fusion" if fused else "rand_trunc"
    ).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    (folder / "LICENSE").write_text("MIT\n")


def _tokenizer() -> Any:
    """One token a byte, with Roberta's special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
    )
