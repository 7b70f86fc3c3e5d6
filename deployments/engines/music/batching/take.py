"""One take under way: its windows, its tokens, its noise, and the audio that has come of it so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import Enum, auto
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from deployments.audio.samples import Samples
from deployments.engines.common.errors import EngineBroken, EngineError
from deployments.engines.music.batching.conditions import Conditioner, Conditions
from deployments.engines.music.batching.decoder import Cache
from deployments.engines.music.batching.philox import gumbel
from deployments.engines.music.batching.sequence import TokenSequence
from deployments.engines.music.codec.stream import CodecDecoder
from deployments.engines.music.protocol import (
    GenerationEvent,
    GenerationProgress,
    GenerationRequest,
    Prefilled,
    Sampling,
    Segment,
)
from deployments.engines.music.windows import DECODER_WARM_UP_FRAMES, GenerationPlan, Window

MAX_RECONSTRUCTION_S = 3.0
_PROGRESS_EVERY_S = 0.1
_NOISE_STEPS = 32

# New frames after which audio is decoded: early at first, then in pieces that cost little. It is the same for
# every take and never depends on the batch, because the codec's bits depend on how frames are cut.
_FIRST_CHUNKS = (9, 25, 50)
_CHUNK = 50

Send = Callable[[GenerationEvent | EngineError | None], None]


class Stage(Enum):
    PREPARING = auto()
    PREFILLING = auto()
    STEPPING = auto()


class Voice:
    """The audible side of a take: frames in, `Prefilled` and segments out, in order and without a gap."""

    def __init__(self, codec: CodecDecoder, prompt: Tensor, new_samples: int, send: Send) -> None:
        """prompt: the context's tokens, int64 [codebooks, frames]; its end is decoded along, so that the new
        audio comes out of the codec in one piece with it."""
        self._send = send
        self._rate_hz = codec.sample_rate_hz
        self._channels = codec.channels
        self._wanted_samples = new_samples
        hop = codec.hop_samples
        reconstructed = min(prompt.shape[1], round(MAX_RECONSTRUCTION_S * codec.sample_rate_hz / hop))
        heard = min(prompt.shape[1], reconstructed + DECODER_WARM_UP_FRAMES)
        self._stream = codec.open()
        self._skip_samples = (heard - reconstructed) * hop
        self._reconstruction_samples = reconstructed * hop
        self._kept: Samples = np.zeros((codec.channels, 0), np.float32)
        self._has_begun = False
        self._sent_samples = 0
        if heard:
            self._take_in(self._stream.push(prompt[:, prompt.shape[1] - heard :]))

    @property
    def has_begun(self) -> bool:
        return self._has_begun

    def push(self, codes: Tensor) -> None:
        """Decode the next new frames, int64 [codebooks, frames], and send what is final. Raises EngineBroken."""
        self._take_in(self._stream.push(codes))
        if not self._has_begun:
            if self._kept.shape[1] < self._reconstruction_samples:
                return
            reconstruction, self._kept = np.split(self._kept, [self._reconstruction_samples], axis=1)
            self._send(Prefilled(np.ascontiguousarray(reconstruction)))
            self._has_begun = True
        fresh = self._kept[:, : self._wanted_samples - self._sent_samples]
        for start in range(0, fresh.shape[1], self._rate_hz):
            self._send(Segment(fresh[:, start : start + self._rate_hz].copy()))
        self._sent_samples += fresh.shape[1]
        self._kept = self._kept[:, :0]

    def _take_in(self, decoded: Tensor) -> None:
        audio: Samples = decoded.float().cpu().numpy()
        if not np.isfinite(audio).all():
            raise EngineBroken("the model's output holds values that are not finite")
        skipped = min(self._skip_samples, audio.shape[1])
        self._skip_samples -= skipped
        self._kept = np.concatenate([self._kept, audio[:, skipped:]], axis=1)


class Take:
    """Owned by the batch's thread, but for `unwanted`, which anyone may set."""

    def __init__(
        self,
        request: GenerationRequest,
        context: Samples | None,
        plan: GenerationPlan,
        delays: Sequence[int],
        hop_samples: int,
        new_samples: int,
        send: Send,
    ) -> None:
        """`context`: float32 [channels, whole frames], None without; `send` may be called from any thread."""
        self.request = request
        self.context = context
        self.plan = plan
        self.unwanted = threading.Event()
        self.submitted_s = time.monotonic()
        self.stage = Stage.PREPARING
        self.unwanted_since_s: float | None = None
        self.window_index = 0
        self.start: Tensor
        self.prompt: Tensor
        self.conditions: Conditions
        self.next_conditions: Future[Conditions] | None = None
        self.cache: Cache
        self.has_cache = False
        self.kv_bytes = 0
        self.column: Tensor
        self.start_logits: Tensor | None = None
        self.voice: Voice | None = None
        self.send = send
        self._delays = tuple(delays)
        self._hop_samples = hop_samples
        self._new_samples = new_samples
        self.sequence: TokenSequence
        self._left = 0
        self._noise: Tensor | None = None
        self._noise_first = 0
        self._drawn = 0
        self._pushed = 0
        self._next_report_s = 0.0

    @property
    def rows(self) -> int:
        """The conditional one and, where it has any influence, the one without conditions."""
        return 1 if self.request.sampling.cfg_coef == 1.0 else 2

    @property
    def window(self) -> Window:
        return self.plan.windows[self.window_index]

    @property
    def is_last_window(self) -> bool:
        return self.window_index + 1 == len(self.plan.windows)

    @property
    def positions(self) -> int:
        """How many columns the model takes in, in the window with the most."""
        return max(window.prompt + self._steps_of(index) for index, window in enumerate(self.plan.windows))

    @property
    def prompting(self) -> Samples | None:
        """What the take continues from."""
        return self.context if self.plan.prompt else None

    @property
    def is_audible(self) -> bool:
        return self.voice is not None and self.voice.has_begun

    @property
    def window_is_done(self) -> bool:
        return self._left == 0

    @property
    def sampling(self) -> Sampling:
        return self.request.sampling

    @property
    def draws_made(self) -> int:
        return self._drawn

    def make_conditions(self, conditioner: Conditioner, window_index: int) -> Conditions:
        """Those of a window; in the conditioner's thread."""
        start_samples = None
        if len(self.plan.windows) > 1:
            start_samples = self.plan.windows[window_index].start * self._hop_samples
        return conditioner.conditions(self.request.prompt, self.context, start_samples)

    def let_go(self) -> None:
        """Nobody wants the take any more; from any thread."""
        self.unwanted_since_s = time.monotonic()
        self.unwanted.set()

    def has_same_start(self, other: Take) -> bool:
        """Whether another take has taken in, in its first window, what this one is about to."""
        return (
            other is not self
            and self.window_index == other.window_index == 0
            and self.rows == other.rows
            and self.conditions is other.conditions
            and self.prompt is other.prompt
        )

    def finish(self, outcome: EngineError | None) -> None:
        if outcome is None and not self.unwanted.is_set():
            self.send(GenerationProgress(1.0))
        self.send(outcome)

    def begin_window(self, special: int) -> Tensor:
        """Start the current window; the columns that the model takes in first, int64 [codebooks, n]."""
        self.sequence = TokenSequence(self.prompt, self.window.length, self._delays, special)
        self._left = self._steps_of(self.window_index)
        self.cache.used = 0
        self.start_logits = None
        return self.sequence.prompt_columns

    def find_voice(self, codec: CodecDecoder) -> None:
        """Decode the end of the context, once the model has taken it in."""
        self.voice = Voice(codec, self.prompt, self._new_samples, self.send)

    def noise(self, codebooks: int, card: int) -> Tensor:
        """Gumbel noise for the next draw, float32 [codebooks, card]; the same for the same seed, always."""
        first = self._drawn - self._drawn % _NOISE_STEPS
        if self._noise is None or self._noise_first != first:
            seed = self.request.sampling.seed
            self._noise = gumbel(seed, first, _NOISE_STEPS, codebooks, card, self.prompt.device)
            self._noise_first = first
        return self._noise[self._drawn - first]

    def enter(self, drawn: Tensor) -> None:
        """Take the tokens of the next column, int64 [codebooks], and let be heard what is due."""
        self._drawn += 1
        self.column = self.sequence.append(drawn)
        self._left -= 1
        self._report()
        ready = self.window.start + self.sequence.complete_frames - self.plan.prompt
        if self.is_last_window and self.window_is_done:
            self._push(ready, held=self._audible_frames - self.plan.prompt - ready)
        elif ready == _next_chunk_end(self._pushed):
            self._push(ready)

    def next_window(self) -> None:
        """Go over to the next window, prompted with the end of this one."""
        self.prompt = self.sequence.codes(self.plan.stride, self.window.length)
        self.window_index += 1

    @property
    def _audible_frames(self) -> int:
        """Frames that the codec gets, prompt and look-ahead included."""
        return self.plan.kept + self.plan.look_ahead

    def _steps_of(self, index: int) -> int:
        """Columns to make in a window; in the last none for frames that nobody will hear."""
        window = self.plan.windows[index]
        is_last = index + 1 == len(self.plan.windows)
        end = min(self._audible_frames, self.plan.generated) if is_last else window.start + window.length
        return end - window.start - window.prompt + self.plan.pattern_delay

    def _push(self, ready: int, held: int = 0) -> None:
        """Decode new frames up to `ready`. Where there was no room to make the codec's look-ahead, the last
        frame is held for it, so that the decoder never sees an end within what is kept."""
        if self.voice is None:
            return
        offset = self.plan.prompt - self.window.start
        codes = self.sequence.codes(offset + self._pushed, offset + ready)
        if held > 0:
            last = self.sequence.codes(offset + ready - 1, offset + ready)
            codes = torch.cat([codes, last.expand(-1, held)], dim=1)
        self.voice.push(codes)
        self._pushed = ready

    def _report(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_report_s:
            return
        self._next_report_s = now_s + _PROGRESS_EVERY_S
        made = self._drawn / self._total_steps
        self.send(GenerationProgress(min(1.0, made)))

    @cached_property
    def _total_steps(self) -> int:
        return sum(self._steps_of(index) for index in range(len(self.plan.windows)))


def _next_chunk_end(pushed: int) -> int:
    """Up to which new frame the next chunk goes, after one that ended at `pushed`."""
    for end in _FIRST_CHUNKS:
        if pushed < end:
            return end
    return pushed + _CHUNK
