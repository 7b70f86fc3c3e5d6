"""The starter's own text encoder: a small T5 whose vocabulary is the words of captions, numbers and keys."""

from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any

import torch

from training.starter.captions import vocabulary
from training.starter.configs import TEXT_WIDTH

_SLOWEST_BPM, _QUICKEST_BPM = 40, 220


def write_text_encoder(folder: Path) -> None:
    """A new one with its tokenizer, in transformers' format. Numbers begin as neighbours of the numbers next
    to them: a caption says one tempo of many, and few songs have the same."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    words = vocabulary()
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -6.0)]
    pieces += [(f"▁{word}", -4.0) for word in words if len(word) > 1 or word.isupper()]
    pieces += [(sign, -8.0) for sign in string.ascii_letters + string.digits + string.punctuation]
    T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder)
    config = T5Config(
        vocab_size=len(pieces),
        d_model=TEXT_WIDTH,
        d_kv=32,
        d_ff=2 * TEXT_WIDTH,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
    )
    config.architectures = ["T5EncoderModel"]
    network = T5EncoderModel(config)
    with torch.no_grad():
        table = network.shared.weight
        table.normal_(0, 1.0)
        plan = torch.randn(16, TEXT_WIDTH) / 4
        for index, (piece, _) in enumerate(pieces):
            if piece[1:].isdigit() and _SLOWEST_BPM <= int(piece[1:]) <= _QUICKEST_BPM:
                octave = math.log2(int(piece[1:]) / _SLOWEST_BPM)
                waves = torch.tensor([octave * 2**scale for scale in range(8)])
                table[index] = 1.4 * torch.cat([waves.sin(), waves.cos()]) @ plan
    network.save_pretrained(folder)


def load_text_encoder(folder: Path) -> Any:
    from transformers import T5EncoderModel

    return T5EncoderModel.from_pretrained(folder)
