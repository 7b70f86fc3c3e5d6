"""Pseudo-random weights of a codec and a language model, at levels that keep what they play audible and sane."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from deployments.engines.common.pseudo_random import network_state, signs, uniform

# Found by decoding random tokens (see `test_tiny.py`): about -20 dBFS RMS.
_CODEC_OUTPUT_GAIN = 0.47
# Brings audio at about -20 dBFS to unit variance inside the encoder.
_CODEC_INPUT_GAIN = 8.0
# Keeps the variance through convolutions with ELU between them.
_CODEC_GAIN = 1.25
# The residual branches and the LSTM add to what they skip; small, so that the level stays the same over time.
_CODEC_BRANCH_GAIN = 0.5
_LSTM_BOUND = 0.0625
# Louder than the positions that are added to it, so that what is played depends on the melody.
_MELODY_GAIN = 8.0
_MELODY_OUTPUT = "self_wav.output_proj.weight"


def codec_state(template: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Values for an `EncodecModel`'s state: a level-keeping random codec without DC."""
    last_decoder_layer = max(_layer(name) for name in template if name.startswith("decoder."))
    return {name: _codec_tensor(name, tensor, last_decoder_layer) for name, tensor in template.items()}


def lm_state(template: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Values for an `LMModel`'s state: linear layers that keep the variance, plain norms."""
    state = network_state("lm", template)
    return {
        name: tensor * _MELODY_GAIN if _MELODY_OUTPUT in name else tensor for name, tensor in state.items()
    }


def _layer(name: str) -> int:
    return int(name.split(".")[2])


def _codec_tensor(name: str, tensor: torch.Tensor, last_decoder_layer: int) -> torch.Tensor:
    shape, key = tensor.shape, f"codec.{name}"
    if "_codebook." in name:
        return _codebook_tensor(name, tensor)
    if ".lstm." in name:
        return uniform(key, shape, _LSTM_BOUND)
    if name.endswith("bias"):
        return torch.zeros(shape)
    is_output = name.startswith("decoder.") and _layer(name) == last_decoder_layer
    if name.endswith("weight_v"):
        direction = uniform(key, shape, 1.0)
        # Antisymmetric in time: the taps sum to exactly 0, so no DC passes.
        return direction - direction.flip(-1) if is_output else direction
    if not name.endswith("weight_g"):
        raise ValueError(f"no rule for the codec's tensor {name}")
    if is_output:
        return torch.full(shape, _CODEC_OUTPUT_GAIN)
    if name.startswith("encoder.model.0."):
        return torch.full(shape, _CODEC_INPUT_GAIN)
    if ".block." in name:
        return torch.full(shape, _CODEC_BRANCH_GAIN)
    return torch.full(shape, _CODEC_GAIN)


def _codebook_tensor(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Centroids of one norm per level, halved from level to level, so that whatever the tokens are the level
    of the decoded audio is about the same."""
    level = int(name.split(".")[3])
    if name.endswith("inited"):
        return torch.ones(tensor.shape)
    if name.endswith("cluster_size"):
        return torch.ones(tensor.shape)
    return signs(f"codec.codebook.{level}", tensor.shape, 0.5**level)
