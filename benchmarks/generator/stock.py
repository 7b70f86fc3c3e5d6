"""The baseline: audiocraft's own `LMModel.generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.generator.models import PAST_VALUE, Model
from benchmarks.kit.turns import timed
from deployments.engines.music.audiocraft.precision import autocast
from deployments.engines.music.protocol import Sampling


class Audiocraft:
    def __init__(self, model: Model, sampling: Sampling) -> None:
        self._model = model
        self._lm = model.lm
        self._sampling = sampling
        self._autocast = autocast(model.dtype, model.device)

    def generate(
        self,
        frames: int,
        *,
        takes: int = 1,
        greedy: bool = False,
        tell_kv_bytes: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Takes of one length at once, from text only: int64 [takes, K, frames]. `tell_kv_bytes` hears what all
        keys and values occupy at the end."""
        from audiocraft.modules.conditioners import ConditioningAttributes

        def on_step(done: int, steps: int) -> None:
            if done == steps and tell_kv_bytes is not None:
                state = self._lm.get_streaming_state()
                tell_kv_bytes(sum(value.nbytes for key, value in state.items() if "past_" in key))

        with self._autocast:
            tokens: Tensor = self._lm.generate(
                conditions=[ConditioningAttributes(text={"description": "given"}) for _ in range(takes)],
                max_gen_len=frames,
                use_sampling=not greedy,
                temp=self._sampling.temperature,
                top_k=self._top_k,
                cfg_coef=self._sampling.cfg_coef,
                callback=on_step,
            )
        return tokens.cpu()

    @torch.no_grad()
    def step_s(self, positions: int, steps: int) -> float:
        """Mean time of a step of a guided take with a past of `positions`."""
        with self._lm.streaming(), self._autocast:
            conditions = self._conditions()
            token = self._next(self._columns(1), conditions)
            state = self._lm.get_streaming_state()
            self._lm.set_streaming_state({key: self._aged(key, state[key], positions) for key in state})

            def go_on() -> None:
                last = token
                for _ in range(steps):
                    last = self._next(last, conditions)

            return timed(go_on, self._model.device) / steps

    @torch.no_grad()
    def prefill_s(self, positions: int) -> float:
        """The first step of a guided take with a prompt."""
        columns, conditions = self._columns(positions), self._conditions()
        with self._lm.streaming(), self._autocast:
            return timed(lambda: self._next(columns, conditions), self._model.device)

    @property
    def _top_k(self) -> int:
        return min(self._sampling.top_k, int(self._lm.card))

    def _columns(self, count: int) -> Tensor:
        """int64 [1, K, count]"""
        generator = torch.Generator().manual_seed(count)
        columns = torch.randint(0, int(self._lm.card), (1, self._model.codebooks, count), generator=generator)
        return columns.to(self._model.device)

    def _conditions(self) -> dict[str, tuple[Tensor, Tensor]]:
        conditions: dict[str, tuple[Tensor, Tensor]] = self._lm.condition_provider([True, False])
        return conditions

    def _next(self, columns: Tensor, conditions: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        token: Tensor = self._lm._sample_next_token(
            columns,
            conditions,
            {},
            use_sampling=True,
            temp=self._sampling.temperature,
            top_k=self._top_k,
            cfg_coef=self._sampling.cfg_coef,
        )
        return token

    def _aged(self, key: str, value: Tensor, positions: int) -> Tensor:
        """What the streaming state after one step would be after `positions`."""
        from audiocraft.modules.transformer import _get_attention_time_dimension

        kind: Any = key.rpartition(".")[2]
        if kind in ("past_keys", "past_values"):
            shape = list(value.shape)
            shape[_get_attention_time_dimension(memory_efficient=True)] = positions
            return torch.full(shape, PAST_VALUE, dtype=value.dtype, device=value.device)
        return torch.full_like(value, positions) if kind == "offsets" else value
