"""Segue's batch with nothing around the model: no text encoder, and a codec whose audio is the tokens."""

from __future__ import annotations

import math
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.generator.models import PAST_VALUE, Model
from benchmarks.kit.turns import timed
from deployments.audio.samples import Samples
from deployments.engines.common.errors import EngineError
from deployments.engines.music.batching.batch import Batch, BatchLimits
from deployments.engines.music.batching.conditions import Conditioner, Conditions
from deployments.engines.music.batching.decoder import Cache, Decoder
from deployments.engines.music.batching.engine import PREFILL_POSITIONS, use_threads
from deployments.engines.music.batching.graph_stepper import CudaRecorder, GraphStepper
from deployments.engines.music.batching.linear import Precision, linear_maker
from deployments.engines.music.batching.sequence import pattern_delays
from deployments.engines.music.batching.stepper import EagerStepper
from deployments.engines.music.batching.take import Take
from deployments.engines.music.codec.stream import CodecDecoder
from deployments.engines.music.meter import BatchState, NoMeter
from deployments.engines.music.protocol import (
    GenerationEvent,
    GenerationMode,
    GenerationRequest,
    Sampling,
    Segment,
)
from deployments.engines.music.windows import GenerationPlan

MOST_TAKES = 8
FRAME_RATE_HZ = 50
_KV_BYTES = 64 * 2**30
_GRAPH_POSITIONS = 1536
_EVENT_TIMEOUT_S = 300.0
_UNTIL_PREPARED_S = 1e-4

Events = queue.SimpleQueue[GenerationEvent | EngineError | None]


@dataclass(frozen=True, slots=True)
class Wish:
    """A take of so many frames from text only, asked for when the batch has made `after_steps` steps."""

    frames: int
    after_steps: int = 0


@dataclass(frozen=True, slots=True)
class Peak:
    """What was there at the worst moment: bytes of the tensors that held keys and values, and of those that
    held the text's."""

    kv_bytes: int = 0
    text_bytes: int = 0

    def or_more(self, kv_bytes: int, text_bytes: int) -> Peak:
        return Peak(max(self.kv_bytes, kv_bytes), max(self.text_bytes, text_bytes))


@dataclass(frozen=True, slots=True)
class Outcome:
    """`tokens`: int64 [K, frames] of each take; `took_s`: from the first wish to the last frame; `stepping_s`:
    from the end of the first step to the last frame."""

    tokens: Sequence[Tensor]
    took_s: float
    stepping_s: float
    peak: Peak


class SegueBatch:
    """A decoder of its own in one precision, and the batch around it. Close it."""

    def __init__(
        self,
        model: Model,
        precision: Precision,
        sampling: Sampling,
        *,
        takes: int = MOST_TAKES,
        has_graphs: bool | None = None,
    ) -> None:
        """`has_graphs`: steps from CUDA graphs, as in the engine on a GPU; None for where there is one."""
        if has_graphs is None:
            has_graphs = model.device.type == "cuda"
        self._model = model
        self._sampling = sampling
        self._delays = pattern_delays(model.lm)
        self.decoder = _WatchedDecoder(
            model.lm,
            linear_maker(model.device, precision),
            most_rows=2 * takes,
            kv_dtype=torch.float32 if model.device.type == "cpu" else precision.dtype,
        )
        self._watch = _Watch(self.decoder)
        self._batch = Batch(
            self.decoder,
            GraphStepper(self.decoder, CudaRecorder(), takes=takes, length=_GRAPH_POSITIONS)
            if has_graphs
            else EagerStepper(self.decoder),
            cast(CodecDecoder, _TokenCodec(model.codebooks)),
            cast(Conditioner, _GivenConditions(model)),
            BatchLimits(takes, 2 * takes, _KV_BYTES, PREFILL_POSITIONS[model.device.type]),
            self._watch,
            f"benchmark {model.name} {precision}",
            partial(use_threads, model.threads),
        )

    def close(self) -> None:
        self._batch.close(timeout_s=10.0)

    def generate(self, wishes: Sequence[Wish], *, greedy: bool = False) -> Outcome:
        """Guided takes, the wishes in the order in which they come. Raises EngineError."""
        return self._generate(wishes, past=0, greedy=greedy)

    def step_s(self, positions: int, steps: int) -> float:
        """Mean time of a step of a guided take with a past of `positions`."""
        # One step comes from the prompt's end, and the clock starts when one more has been made.
        frames = steps + 2 - max(self._delays)
        self.decoder.pretends = True
        try:
            return self._generate([Wish(frames)], past=positions, greedy=False).stepping_s / steps
        finally:
            self.decoder.pretends = False

    def prefill_s(self, positions: int, stretch: int) -> float:
        """Taking in a prompt of a guided take, in stretches of so many positions."""
        conditions = _GivenConditions(self._model).conditions()
        generator = torch.Generator().manual_seed(positions)
        columns = torch.randint(0, self.decoder.card, (positions, self._model.codebooks), generator=generator)

        def take_in() -> None:
            tokens = self.decoder.embed(columns.to(self._model.device)).expand(2, -1, -1)
            start = torch.cat([conditions.prefix, tokens], dim=1)
            cache = self.decoder.new_cache(2, start.shape[1], conditions.text)
            for first in range(0, start.shape[1], stretch):
                self.decoder.prefill(start[:, first : first + stretch], cache)

        return timed(take_in, self._model.device)

    def _generate(self, wishes: Sequence[Wish], *, past: int, greedy: bool) -> Outcome:
        outcomes: list[Events] = [queue.SimpleQueue() for _ in wishes]
        coming = deque(zip(wishes, outcomes, strict=True))

        def submit_next() -> None:
            wish, outcome = coming.popleft()
            take = self._take(wish, past, greedy, outcome)
            self._batch.submit(take)
            # A busy machine may put the thread that prepares takes aside for longer than a take of steps lasts.
            while not hasattr(take, "conditions"):
                time.sleep(_UNTIL_PREPARED_S)

        def submit_due(steps: int, is_empty: bool) -> None:
            while coming and (coming[0][0].after_steps <= steps or is_empty):
                submit_next()
                is_empty = False

        self._watch.begin(len(wishes), submit_due)
        began_s = time.perf_counter()
        submit_next()
        tokens = [_collected(outcome, self._model.codebooks) for outcome in outcomes]
        ended_s = time.perf_counter()
        self._watch.wait_until_over()
        return Outcome(tokens, ended_s - began_s, ended_s - self._watch.first_step_s, self._watch.peak)

    def _take(self, wish: Wish, past: int, greedy: bool, outcome: Events) -> Take:
        hop = self._model.codebooks
        prompt = max(0, past - 1)  # the first position is that of the special column
        plan = GenerationPlan(
            prompt=prompt,
            new=wish.frames,
            window=prompt + wish.frames,
            stride=1,
            pattern_delay=max(self._delays),
            look_ahead=0,
        )
        sampling = replace(self._sampling, temperature=0.0) if greedy else self._sampling
        mode = GenerationMode.CONTINUE if prompt else GenerationMode.TEXT
        request = GenerationRequest("benchmark", mode, "given", wish.frames / FRAME_RATE_HZ, sampling)
        context = np.zeros((1, prompt * hop), np.float32) if prompt else None
        return Take(request, context, plan, self._delays, hop, wish.frames * hop, outcome.put)


class _WatchedDecoder(Decoder):
    """Knows which of its caches are still alive, and `pretends`, if told so, to have taken in what it has not."""

    pretends = False
    _caches: Sequence[tuple[weakref.ref[Tensor], int]] = ()

    def new_cache(self, rows: int, length: int, text: Tensor | None) -> Cache:
        cache = super().new_cache(rows, length, text)
        alive = [(kv, text_bytes) for kv, text_bytes in self._caches if kv() is not None]
        text_bytes = 0 if text is None else 2 * self.layers * text.numel() * self.kv_dtype.itemsize
        self._caches = [*alive, (weakref.ref(cache.kv), text_bytes)]
        return cache

    def prefill(self, x: Tensor, cache: Cache) -> Tensor:
        if not self.pretends:
            return super().prefill(x, cache)
        end = cache.used + x.shape[1]
        cache.kv[..., cache.used : end, :] = PAST_VALUE
        cache.used = end
        return torch.zeros((x.shape[0], self.codebooks, self.card), device=x.device)

    def alive_bytes(self) -> tuple[int, int]:
        """Of the keys and values of all caches, and of the text's."""
        alive = [(kv.nbytes, text_bytes) for there, text_bytes in self._caches if (kv := there()) is not None]
        return sum(kv for kv, _ in alive), sum(text_bytes for _, text_bytes in alive)


class _Watch(NoMeter):
    """Counts the steps of a run, and says after each how many there were and whether the batch is empty."""

    def __init__(self, decoder: _WatchedDecoder) -> None:
        self._decoder = decoder
        self._is_over = threading.Event()

    def begin(self, takes: int, after_step: Callable[[int, bool], None]) -> None:
        self._unfinished = takes
        self._after_step = after_step
        self._steps = 0
        self._is_over.clear()
        self.peak = Peak()
        self.first_step_s = math.nan

    def wait_until_over(self) -> None:
        """The last take is told of its end within the last step, not after it."""
        if not self._is_over.wait(_EVENT_TIMEOUT_S):
            raise TimeoutError("the last step does not end")

    def finished(self, *, audio_s: float, after_s: float) -> None:
        self._unfinished -= 1

    def stepped(self, state: BatchState, *, seconds: float) -> None:
        if state.takes == 0:
            return
        self._steps += 1
        if self._steps == 1:
            self.first_step_s = time.perf_counter()
        self.peak = self.peak.or_more(*self._decoder.alive_bytes())
        self._after_step(self._steps, state.kv_bytes == 0)
        if self._unfinished == 0:
            self._is_over.set()


class _TokenCodec:
    """A codec that decodes frames to their tokens: K samples a frame."""

    channels = 1

    def __init__(self, codebooks: int) -> None:
        self.hop_samples = codebooks
        self.sample_rate_hz = FRAME_RATE_HZ * codebooks

    def open(self) -> _TokenCodec:
        return self

    def push(self, codes: Tensor) -> Tensor:
        return codes.T.reshape(1, -1).float()


class _GivenConditions:
    """The text of a model, as new for every take: as if all had different words."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def conditions(self, *_: object) -> Conditions:
        text = self._model.text
        if self._model.prepends:
            return Conditions(torch.stack([text, torch.zeros_like(text)]), None)
        return Conditions(torch.zeros((2, 0, text.shape[1]), device=text.device), text)

    def encode(self, context: Samples | None) -> Tensor:
        codebooks = self._model.codebooks
        frames = 0 if context is None else context.shape[1] // codebooks
        return torch.zeros((codebooks, frames), dtype=torch.int64, device=self._model.device)


def _collected(outcome: Events, codebooks: int) -> Tensor:
    """The tokens of a take, int64 [K, frames]. Raises EngineError."""
    samples: list[Samples] = []
    while (event := outcome.get(timeout=_EVENT_TIMEOUT_S)) is not None:
        if isinstance(event, EngineError):
            raise event
        if isinstance(event, Segment):
            samples.append(event.samples)
    return torch.from_numpy(np.concatenate(samples, axis=1).reshape(-1, codebooks).T.astype(np.int64))
