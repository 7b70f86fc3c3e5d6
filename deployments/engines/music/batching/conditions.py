"""What a take is conditioned on, made by audiocraft's own conditioners and codec, and remembered for a while.

The takes of one request, and requests with the same words or the same context, get the very same object: by
that the batch knows that they have a beginning in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deployments.audio.samples import Samples
from deployments.engines.music.audiocraft.checkpoint import Checkpoint

_REMEMBERED = 16


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """`prefix`: float32 [2, positions, d], put before the tokens; `text`: float32 [tokens, d], read by
    cross-attention, None for models without. Row 0 is the conditional one; row 1 is without conditions, for
    which the text is zero and therefore not kept."""

    prefix: Tensor
    text: Tensor | None


class Conditioner:
    """For one thread at a time. All context is float32 [channels, samples] at the model's rate."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        from audiocraft.models import MusicGen

        self._music: Any = MusicGen("", checkpoint.codec, checkpoint.lm, checkpoint.window_s)
        self._lm = checkpoint.lm
        self._follows_melody = checkpoint.follows_melody
        self._device = device
        self._window_samples = round(checkpoint.window_s * self._music.sample_rate)
        self._no_codes = torch.zeros((checkpoint.lm.n_q, 0), dtype=torch.int64, device=device)
        # Bytes are their own key: equal audio is found again whoever sends it.
        self._from_text = lru_cache(_REMEMBERED)(lambda prompt: self._make(prompt, None))
        self._from_melody = lru_cache(_REMEMBERED)(self._make_with_melody)
        self._codes = lru_cache(_REMEMBERED)(self._encode)

    @property
    def codec(self) -> Any:
        """audiocraft's compression model, as the language model sees it: wrapped for stereo."""
        return self._music.compression_model

    def conditions(self, prompt: str, melody: Samples | None, start_samples: int | None) -> Conditions:
        """For one window. In a take of several windows the melody is repeated from `start_samples` on to fill
        the window; None in a take of one, where audiocraft's conditioner repeats the chroma instead."""
        if melody is None or not self._follows_melody:
            return self._from_text(prompt)
        return self._from_melody(prompt, melody.tobytes(), melody.shape[0], start_samples)

    def encode(self, context: Samples | None) -> Tensor:
        """The codec's tokens, int64 [codebooks, frames]; no frames without a context."""
        return self._no_codes if context is None else self._codes(context.tobytes(), context.shape[0])

    @torch.inference_mode()
    def _encode(self, context: bytes, channels: int) -> Tensor:
        # The second is a scale, of codecs that renormalise, which the streaming decoder has refused.
        codes, _ = self._music.compression_model.encode(self._tensor(context, channels)[None])
        tokens: Tensor = codes[0]
        return tokens

    def _make_with_melody(
        self, prompt: str, melody: bytes, channels: int, start_samples: int | None
    ) -> Conditions:
        wave = self._tensor(melody, channels)
        if start_samples is not None:
            positions = torch.arange(start_samples, start_samples + self._window_samples, device=self._device)
            wave = wave[:, positions % wave.shape[1]]
        return self._make(prompt, wave)

    @torch.inference_mode()
    def _make(self, prompt: str, melody: Tensor | None) -> Conditions:
        from audiocraft.modules.conditioners import ClassifierFreeGuidanceDropout

        melodies = None if melody is None else [melody]
        attributes, _ = self._music._prepare_tokens_and_attributes([prompt], None, melodies)
        both = attributes + ClassifierFreeGuidanceDropout(p=1.0)(attributes)
        tensors = self._lm.condition_provider(self._lm.condition_provider.tokenize(both))
        # Fused with a sequence of no tokens, what is left is what goes before it.
        nothing = torch.zeros((2, 0, self._lm.dim), device=self._device)
        prefix, cross = self._lm.fuser(nothing, tensors)
        return Conditions(prefix.float(), None if cross is None else cross[0].float())

    def _tensor(self, samples: bytes, channels: int) -> Tensor:
        array = np.frombuffer(samples, np.float32).reshape(channels, -1)
        return torch.from_numpy(array.copy()).to(self._device)
