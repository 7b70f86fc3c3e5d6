"""All takes of a replica, step by step, in one thread.

Each turn of the loop: let go what nobody wants, admit what fits, take one stretch of one context in, and go
one step further with every take that is stepping. A take joins and leaves at any turn, and what it gets does
not depend on who is there with it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from deployments.engines.common.errors import BadRequest, EngineBroken, EngineBusy, EngineError
from deployments.engines.music.batching.conditions import Conditioner
from deployments.engines.music.batching.decoder import Decoder
from deployments.engines.music.batching.stepper import Stepper
from deployments.engines.music.batching.take import Stage, Take
from deployments.engines.music.codec.stream import CodecDecoder
from deployments.engines.music.meter import BatchState, Meter
from deployments.engines.music.protocol import GenerationProgress
from deployments.turns import Turns

logger = logging.getLogger("segue.generator")

T = TypeVar("T")

_LONGEST_IDLE_S = 1.0


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`takes` step at once, `waiting` more may wait, whose keys and values together stay below `kv_bytes`.
    `prefill_positions` of a context are taken in between two steps of the others, and where nobody steps and it
    changes no bit, `lone_prefill_positions`."""

    takes: int
    waiting: int
    kv_bytes: int
    prefill_positions: int
    lone_prefill_positions: int = 0


class Batch:
    """`submit` may be called from any thread. The outcome of a take comes through its `send`: events, then
    None at its end, or an EngineError."""

    def __init__(
        self,
        decoder: Decoder,
        stepper: Stepper,
        codec: CodecDecoder,
        conditioner: Conditioner,
        limits: BatchLimits,
        meter: Meter,
        name: str,
        prepare_thread: Callable[[], None],
    ) -> None:
        self._decoder = decoder
        self._stepper = stepper
        self._codec = codec
        self._conditioner = conditioner
        self._limits = limits
        self._meter = meter
        self._prepare_thread = prepare_thread
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: Turns[Take] = Turns()
        self._active: list[Take] = []
        self._under_way: set[Take] = set()
        self._under_way_lock = threading.Lock()
        self._kv_bytes = 0
        self._is_stepping = False
        self._closed = threading.Event()
        self._last_sign_s = time.monotonic()
        self._conditioning_since_s: float | None = None
        self.failure: str | None = None
        self._conditioning = ThreadPoolExecutor(1, f"{name} conditions", initializer=prepare_thread)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def silent_s(self) -> float:
        """How long the work in hand has given no sign, in either thread; 0 while there is none."""
        now_s, conditioning_since_s = time.monotonic(), self._conditioning_since_s
        return max(
            now_s - self._last_sign_s if self._active else 0.0,
            now_s - conditioning_since_s if conditioning_since_s is not None else 0.0,
        )

    def submit(self, take: Take) -> None:
        """Raises EngineBusy if too many are waiting already. The last fifth of the places to wait in is for
        others than the client that has all the rest."""
        limits, client = self._limits, take.request.client
        with self._under_way_lock:
            own = sum(other.request.client == client for other in self._under_way) if client else 0
            if len(self._under_way) >= limits.takes + limits.waiting or (
                own >= limits.takes + limits.waiting - limits.waiting // 5
            ):
                raise EngineBusy(f"{len(self._under_way)} takes are under way or waiting")
            self._under_way.add(take)
        self._conditioning.submit(self._timed, partial(self._prepare, take))

    def close(self, timeout_s: float) -> None:
        self._closed.set()
        self._inbox.put(lambda: None)
        self._conditioning.shutdown(wait=False, cancel_futures=True)
        self._thread.join(timeout_s)

    # In the conditioning thread: what a take needs before it can be admitted.

    def _timed(self, work: Callable[[], T]) -> T:
        """Text encoder and codec work here: the batch's own turns do not show that they hang."""
        self._conditioning_since_s = time.monotonic()
        try:
            return work()
        finally:
            self._conditioning_since_s = None

    def _prepare(self, take: Take) -> None:
        try:
            if not take.unwanted.is_set():
                take.send(GenerationProgress(0.0))
                take.prompt = self._conditioner.encode(take.prompting)
                take.conditions = take.make_conditions(self._conditioner, 0)
        except Exception as error:
            self._inbox.put(partial(self._end, take, _as_engine_error(take, error)))
        else:
            request = take.request
            self._inbox.put(partial(self._waiting.append, request.client, take, request.weight))

    # In the batch's thread.

    def _run(self) -> None:
        self._prepare_thread()
        while not self._closed.is_set():
            try:
                self._turn()
            except Exception as error:
                logger.exception("a step failed")
                self._fail_all(error)
        for take in list(self._under_way):
            self._end(take, EngineBroken("the engine was closed"))

    def _turn(self) -> None:
        self._read_inbox()
        self._last_sign_s = time.monotonic()
        for take in [take for take in (*self._active, *self._waiting) if take.unwanted.is_set()]:
            self._end(take, None)
        self._admit()
        self._resume()
        self._prefill()
        self._step()

    def _read_inbox(self) -> None:
        """Wait for something to do if there is nothing."""
        stands_still = all(take.stage is Stage.PREPARING for take in self._active)
        may_admit = bool(self._waiting) and not self._active
        try:
            message = self._inbox.get(block=stands_still and not may_admit, timeout=_LONGEST_IDLE_S)
            while True:
                message()
                message = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _admit(self) -> None:
        """Clients take turns, each with its first take: one client's burst holds up another's take until one of
        those that step is done. A take that does not fit yet holds up those behind it, or it might never come to
        its turn."""
        while self._waiting and len(self._active) < self._limits.takes:
            client = self._waiting.owners()[0]
            take = self._waiting.first(client)
            length = take.conditions.prefix.shape[1] + take.positions
            needed = self._stepper.cache_bytes(take.rows, length)
            if needed > self._limits.kv_bytes:
                self._end(
                    take,
                    BadRequest(
                        f"this take needs {needed} bytes for its keys and values, and this replica has "
                        f"{self._limits.kv_bytes} for all; ask for less duration_s or prompt_duration_s"
                    ),
                )
                continue
            if self._kv_bytes + needed > self._limits.kv_bytes:
                return
            self._waiting.take(client)
            self._meter.admitted(waited_s=time.monotonic() - take.submitted_s)
            self._active.append(take)
            take.kv_bytes = needed
            self._kv_bytes += needed
            take.cache = self._stepper.new_cache(take.rows, length, take.conditions.text)
            take.has_cache = True
            self._begin_window(take)

    def _begin_window(self, take: Take) -> None:
        columns = take.begin_window(self._decoder.card)
        tokens = self._decoder.embed(columns.T).expand(take.rows, -1, -1)
        take.start = torch.cat([take.conditions.prefix[: take.rows], tokens], dim=1)
        take.stage = Stage.PREFILLING
        if not take.is_last_window:
            take.next_conditions = self._conditioning.submit(
                self._timed, partial(take.make_conditions, self._conditioner, take.window_index + 1)
            )
            take.next_conditions.add_done_callback(lambda _: self._inbox.put(lambda: None))

    def _resume(self) -> None:
        """Takes that have come to the end of a window go on with the next as soon as its conditions are
        there."""
        for take in [take for take in self._active if take.stage is Stage.PREPARING]:
            if take.next_conditions is not None and take.next_conditions.done():
                try:
                    take.conditions = take.next_conditions.result()
                except Exception as error:
                    self._end(take, _as_engine_error(take, error))
                    continue
                take.next_window()
                self._begin_window(take)

    def _prefill(self) -> None:
        """One stretch of one take's beginning, the oldest first, so that the others' steps go on in between."""
        take = next((take for take in self._active if take.stage is Stage.PREFILLING), None)
        if take is None:
            return
        sibling = next((other for other in self._active if other.has_same_start(take)), None)
        if sibling is not None and sibling.start_logits is not None:
            take.cache.copy_start(sibling.cache, take.start.shape[1])
            logits = sibling.start_logits
        else:
            done = take.cache.used
            stretch = take.start[:, done : done + self._stretch]
            logits = self._decoder.prefill(stretch, take.cache)
            if take.cache.used < take.start.shape[1]:
                return
        take.start_logits = logits
        take.stage = Stage.STEPPING
        try:
            if take.voice is None:
                take.find_voice(self._codec)
        except EngineError as error:
            self._end(take, error)
            return
        self._enter(take, self._stepper.draw(take, logits))

    @property
    def _stretch(self) -> int:
        """How many positions are taken in before the others have their turn."""
        nobody_waits = all(take.stage is not Stage.STEPPING for take in self._active)
        if nobody_waits and self._decoder.prefills_alike:
            return max(self._limits.prefill_positions, self._limits.lone_prefill_positions)
        return self._limits.prefill_positions

    def _step(self) -> None:
        takes = [take for take in self._active if take.stage is Stage.STEPPING]
        if not takes:
            if self._is_stepping:
                self._is_stepping = False
                self._tell(rows=0, takes=0, seconds=0.0)
            return
        self._is_stepping = True
        started_s = time.monotonic()
        drawn = self._stepper.step(takes)
        for take, tokens in zip(takes, drawn, strict=True):
            self._enter(take, tokens)
        self._tell(
            rows=sum(take.rows for take in takes), takes=len(takes), seconds=time.monotonic() - started_s
        )

    def _tell(self, *, rows: int, takes: int, seconds: float) -> None:
        state = BatchState(rows, takes, len(self._waiting), self._kv_bytes, self._limits.kv_bytes)
        self._meter.stepped(state, seconds=seconds)

    def _enter(self, take: Take, tokens: Tensor) -> None:
        was_silent = not take.is_audible
        try:
            take.enter(tokens)
        except EngineError as error:
            self._end(take, error)
            return
        now_s = time.monotonic()
        if was_silent and take.is_audible:
            self._meter.first_audio(after_s=now_s - take.submitted_s, steps=take.draws_made)
        if take.window_is_done:
            if take.is_last_window:
                self._meter.finished(audio_s=take.request.duration_s, after_s=now_s - take.submitted_s)
                self._end(take, None)
            else:
                take.stage = Stage.PREPARING

    def _end(self, take: Take, outcome: EngineError | None) -> None:
        with self._under_way_lock:
            if take not in self._under_way:
                return
            self._under_way.remove(take)
        if take in self._active:
            self._active.remove(take)
            self._kv_bytes -= take.kv_bytes
            if take.has_cache:  # not where there was no memory for it
                self._stepper.release(take.cache)
        elif take in self._waiting:
            self._waiting.remove(take)
        if take.unwanted_since_s is not None:
            self._meter.let_go(after_s=time.monotonic() - take.unwanted_since_s)
        take.finish(outcome)

    def _fail_all(self, error: Exception) -> None:
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        elif isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
            # After a failed kernel the process's CUDA context stays unusable.
            self.failure = f"{type(error).__name__}: {error}"
        for take in list(self._active):
            self._end(take, _as_engine_error(take, error))


def _as_engine_error(take: Take, error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    logger.error("take %s failed", take.request.request_id, exc_info=error)
    if isinstance(error, torch.OutOfMemoryError):
        # torch's own message is pages of allocator statistics; the log has it.
        failure = EngineBroken(
            "this replica has no memory left for the take; shorter takes, or fewer at once, need less"
        )
    else:
        failure = EngineBroken(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
