"""MusicGen through audiocraft: one loaded model, one take at a time in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path

import torch

from deployments.engines.common.device import Device, choose_device
from deployments.engines.common.errors import EngineBroken, EngineError
from deployments.engines.music.audiocraft.checkpoint import load_checkpoint
from deployments.engines.music.audiocraft.importing import VERSION
from deployments.engines.music.audiocraft.precision import choose_dtype, convert
from deployments.engines.music.catalog import ModelEntry
from deployments.engines.music.checks import check_request
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    Sampling,
    Segment,
)
from deployments.engines.music.reference.drawing import install_drawing
from deployments.engines.music.reference.take import TakeMaker
from deployments.engines.music.reference.worker import Worker

logger = logging.getLogger("segue.generator")

MAX_DURATION_S = 300.0
_PROGRESS_EVERY_S = 0.1
_CLOSE_TIMEOUT_S = 10.0
_WARM_UP_S = {"cuda": 2.0, "cpu": 0.2}

Send = Callable[[GenerationEvent | EngineError | None], None]


class _Stopped(Exception):
    """Nobody wants the take any more."""


class AudiocraftEngine:
    """Satisfies `Engine`.

    The constructor loads the model and blocks meanwhile (a download, for models of the hub). Takes are made
    in the order of the calls, by one thread; the event loop stays free. A take that is no longer wanted ends
    at the model's next step. No setting of a take outlives it, and its random numbers are its own.

    `threads` sets torch's threads, which belong to the whole process; `gpu_memory_fraction` caps the
    process's share of the GPU's memory. A take that gives no sign for `stuck_after_s` makes the engine
    unhealthy; it must allow for a melody's separation, the longest stretch without a step.

    Raises ModelUnavailable.
    """

    def __init__(
        self,
        entry: ModelEntry,
        *,
        cache_dir: Path,
        device: Device = Device.AUTO,
        dtype: str = "auto",
        threads: int | None = None,
        gpu_memory_fraction: float | None = None,
        stuck_after_s: float = 180.0,
    ) -> None:
        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(dtype, chosen_device)
        if threads is not None:
            torch.set_num_threads(threads)
        if gpu_memory_fraction is not None and chosen_device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(gpu_memory_fraction)
        checkpoint = load_checkpoint(entry, chosen_device, cache_dir)
        install_drawing()
        convert(checkpoint.lm, chosen_dtype)
        self._maker = TakeMaker(checkpoint, chosen_device, chosen_dtype)
        self._info = EngineInfo(
            model=entry.name,
            engine="audiocraft",
            engine_version=f"{VERSION}+torch{torch.__version__}",
            weights_sha256=checkpoint.weights_sha256,
            licence=entry.licence,
            sample_rate_hz=self._maker.sample_rate_hz,
            channels=self._maker.channels,
            max_context_s=self._maker.max_context_s,
            max_duration_s=MAX_DURATION_S,
            modes=(
                GenerationMode.TEXT,
                GenerationMode.CONTINUE,
                GenerationMode.COMPOSE,
                *((GenerationMode.MELODY,) if checkpoint.follows_melody else ()),
            ),
            device=chosen_device.type,
            dtype=str(chosen_dtype).removeprefix("torch."),
            # GPU kernels are chosen by hardware and load; only the CPU's are known to repeat themselves.
            reproducible=chosen_device.type == "cpu",
        )
        self._stuck_after_s = stuck_after_s
        self._closed = threading.Event()
        self._broken: str | None = None
        prepare = partial(torch.set_num_threads, threads) if threads is not None else None
        self._worker = Worker(f"musicgen {entry.name}", prepare)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent]:
        self._check_usable()
        check_request(request, self._info)
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[GenerationEvent | EngineError | None] = asyncio.Queue()
        unwanted = threading.Event()

        def send(event: GenerationEvent | EngineError | None) -> None:
            try:
                loop.call_soon_threadsafe(events.put_nowait, event)
            except RuntimeError:  # the loop is closed: nobody listens
                unwanted.set()

        self._worker.submit(partial(self._work, request, unwanted, send))
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, EngineError):
                    raise event
                yield event
        finally:
            unwanted.set()

    async def info(self) -> EngineInfo:
        return self._info

    async def warm_up(self) -> None:
        request = GenerationRequest(
            request_id="warm-up",
            mode=GenerationMode.TEXT,
            prompt="warm up",
            duration_s=_WARM_UP_S[self._info.device],
            sampling=Sampling(seed=0),
        )
        async for _ in self.generate(request):
            pass

    async def check_health(self) -> None:
        self._check_usable()
        silent_s = self._worker.silent_s
        if silent_s > self._stuck_after_s:
            raise EngineBroken(f"the take in hand has given no sign for {silent_s:.0f} s")

    async def close(self) -> None:
        self._closed.set()
        await asyncio.to_thread(self._worker.stop, _CLOSE_TIMEOUT_S)

    def _check_usable(self) -> None:
        if self._closed.is_set():
            raise EngineBroken("the engine is closed")
        if self._broken is not None:
            raise EngineBroken(self._broken)
        if not self._worker.is_alive:
            raise EngineBroken("the engine's thread has ended")

    def _work(self, request: GenerationRequest, unwanted: threading.Event, send: Send) -> None:
        """One take, in the worker's thread: sends its events, then None or the error that ended it."""
        try:
            self._make(request, unwanted, send)
        except _Stopped:
            send(EngineBroken("the engine was closed") if self._closed.is_set() else None)
        except EngineError as error:
            send(error)
        except Exception as error:
            logger.exception("take %s failed", request.request_id)
            failure = EngineBroken(f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            elif isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
                # After a failed kernel the process's CUDA context stays unusable.
                self._broken = str(failure)
            send(failure)
        else:
            send(None)

    def _make(self, request: GenerationRequest, unwanted: threading.Event, send: Send) -> None:
        next_report_s = 0.0

        def on_progress(fraction: float) -> None:
            nonlocal next_report_s
            self._worker.give_sign()
            if unwanted.is_set() or self._closed.is_set():
                raise _Stopped
            now_s = time.monotonic()
            if now_s >= next_report_s:
                next_report_s = now_s + _PROGRESS_EVERY_S
                send(GenerationProgress(fraction))

        on_progress(0.0)
        take = self._maker.make(request, on_progress)
        self._worker.give_sign()
        send(GenerationProgress(1.0))
        send(take.prefilled)
        for start in range(0, take.audio.shape[1], self._info.sample_rate_hz):
            send(Segment(take.audio[:, start : start + self._info.sample_rate_hz].copy()))
