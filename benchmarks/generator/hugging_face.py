"""The second baseline: MusicGen in Hugging Face's transformers, with the very weights of audiocraft's model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.generator.models import PAST_VALUE, Model
from benchmarks.kit.turns import timed
from deployments.engines.music.protocol import Sampling

_LONGEST = 2048
"""Positions in the model's table: those of Meta's checkpoints."""


class Transformers:
    """Shares the tensors of `model`, so it occupies next to nothing. Only for models with cross-attention."""

    def __init__(self, model: Model, sampling: Sampling) -> None:
        from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

        lm = model.lm
        first = lm.transformer.layers[0]
        self._model = model
        self._sampling = sampling
        self._config = MusicgenDecoderConfig(
            vocab_size=lm.card,
            hidden_size=lm.dim,
            num_hidden_layers=model.layers,
            num_attention_heads=first.self_attn.num_heads,
            ffn_dim=first.linear1.out_features,
            num_codebooks=model.codebooks,
            max_position_embeddings=_LONGEST,
            activation_function="gelu",
            pad_token_id=lm.card,
            bos_token_id=lm.card,
        )
        with torch.device("meta"):
            self._causal = MusicgenForCausalLM(self._config)
        self._causal.load_state_dict(_state(lm), assign=True)
        # Positions are computed, not loaded, so they are still on `meta`.
        positions = self._causal.model.decoder.embed_positions
        table = positions.get_embedding(_LONGEST, lm.dim).to(model.device, model.dtype)
        positions.weights = nn.Buffer(table, persistent=False)
        self._causal.eval()
        self._causal.generation_config.decoder_start_token_id = lm.card

    def generate(self, frames: int, *, greedy: bool = False) -> Tensor:
        """One guided take from text only: int64 [1, K, frames]."""
        tokens = self._generate(
            columns=1, past=self._past(0), length=1 + self._model.steps(frames), greedy=greedy
        )
        return tokens.cpu()

    def step_s(self, positions: int, steps: int) -> float:
        """Mean time of a step of a guided take with a past of `positions`; of at least as many steps as the longest
        delay, without which transformers has no place for the past."""
        past = self._past(positions)
        columns = positions + 1
        return (
            timed(
                lambda: self._generate(columns=columns, past=past, length=columns + steps, greedy=False),
                self._model.device,
            )
            / steps
        )

    def _generate(self, *, columns: int, past: Any, length: int, greedy: bool) -> Tensor:
        """`generate` leaves some settings None that its loop needs, and without a cache of two parts, as
        `MusicgenForConditionalGeneration` gives it, the text's keys would go among the tokens'."""
        device, card = self._model.device, int(self._model.lm.card)
        text = self._model.text.to(self._model.dtype)
        tokens: Tensor = self._causal.generate(
            torch.full((self._model.codebooks, columns), card, device=device),
            attention_mask=torch.ones((1, columns), dtype=torch.int64, device=device),
            encoder_hidden_states=torch.stack([text, torch.zeros_like(text)]),
            guidance_scale=self._sampling.cfg_coef,
            past_key_values=past,
            max_length=length,
            do_sample=not greedy,
            temperature=None if greedy else self._sampling.temperature,
            top_k=None if greedy else min(self._sampling.top_k, card),
            num_return_sequences=1,
            num_beams=1,
        )
        return tokens

    def _past(self, positions: int) -> Any:
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache

        past = EncoderDecoderCache(DynamicCache(config=self._config), DynamicCache(config=self._config))
        heads = self._config.num_attention_heads
        shape = (2, heads, positions, self._config.hidden_size // heads)
        for layer in range(self._model.layers if positions else 0):
            kept = torch.full(shape, PAST_VALUE, dtype=self._model.dtype, device=self._model.device)
            past.self_attention_cache.update(kept, kept.clone(), layer)
        return past


def _state(lm: Any) -> dict[str, Tensor]:
    """audiocraft's tensors by transformers' names."""
    state = {f"model.decoder.embed_tokens.{k}.weight": table.weight for k, table in enumerate(lm.emb)}
    state |= {f"lm_heads.{k}.weight": head.weight for k, head in enumerate(lm.linears)}
    state |= _norm("model.decoder.layer_norm", lm.out_norm)
    for index, layer in enumerate(lm.transformer.layers):
        place = f"model.decoder.layers.{index}"
        state |= _attention(f"{place}.self_attn", layer.self_attn)
        state |= _attention(f"{place}.encoder_attn", layer.cross_attention)
        state |= _norm(f"{place}.self_attn_layer_norm", layer.norm1)
        state |= _norm(f"{place}.encoder_attn_layer_norm", layer.norm_cross)
        state |= _norm(f"{place}.final_layer_norm", layer.norm2)
        state |= {f"{place}.fc1.weight": layer.linear1.weight, f"{place}.fc2.weight": layer.linear2.weight}
    return state


def _attention(place: str, attention: Any) -> dict[str, Tensor]:
    parts = zip("qkv", attention.in_proj_weight.chunk(3), strict=True)
    state = {f"{place}.{name}_proj.weight": weight for name, weight in parts}
    return state | {f"{place}.out_proj.weight": attention.out_proj.weight}


def _norm(place: str, norm: Any) -> dict[str, Tensor]:
    return {f"{place}.weight": norm.weight, f"{place}.bias": norm.bias}
