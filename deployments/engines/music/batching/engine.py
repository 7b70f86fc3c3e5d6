"""MusicGen with continuous batching as an `Engine`: the asynchronous outside of a `Batch`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from deployments.engines.common.device import choose_device
from deployments.engines.common.errors import EngineBroken, EngineError, ModelUnavailable
from deployments.engines.music.audiocraft.checkpoint import load_checkpoint
from deployments.engines.music.audiocraft.importing import VERSION
from deployments.engines.music.batching import kernels
from deployments.engines.music.batching.batch import Batch, BatchLimits
from deployments.engines.music.batching.conditions import Conditioner
from deployments.engines.music.batching.decoder import Decoder
from deployments.engines.music.batching.graph_stepper import ROWS, CudaRecorder, GraphStepper, Recorder
from deployments.engines.music.batching.linear import Precision, linear_maker
from deployments.engines.music.batching.sequence import pattern_delays
from deployments.engines.music.batching.stepper import EagerStepper, Stepper
from deployments.engines.music.batching.take import Take
from deployments.engines.music.catalog import EngineOptions, ModelEntry
from deployments.engines.music.checks import check_request, new_samples
from deployments.engines.music.codec.stream import CodecDecoder
from deployments.engines.music.context import audible_context
from deployments.engines.music.meter import Meter, NoMeter
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationMode,
    GenerationRequest,
    Sampling,
)
from deployments.engines.music.windows import GenerationPlan

MAX_DURATION_S = 300.0
_CLOSE_TIMEOUT_S = 10.0
_WARM_UP_S = 0.3

# Counted up with every change that gives other samples for the same request.
VERSION_OF_RESULTS = 2

# How much of a context is taken in between two steps of the other takes: about as long as a few steps. The
# bits of a take depend on it, so it is no setting.
PREFILL_POSITIONS = {"cpu": 64, "cuda": 512}
# Where no other take waits for its step. Large products are the quickest, and a take let go still ends within a
# piece.
LONE_PREFILL_POSITIONS = {"cpu": 512, "cuda": 512}
# A slot has room for a melody's chroma before the tokens.
_MOST_PREFIX_POSITIONS = 512
_KERNELS = "deployments.engines.music.batching.kernels.running"
_KV_SHARE_OF_MEMORY = 0.25


class SegueEngine:
    """Satisfies `Engine`. The constructor loads the model and blocks meanwhile (a download, for the hub's).

    `options.threads` sets torch's threads, which belong to the whole process;
    `options.gpu_memory_fraction` caps the process's share of the GPU's memory. Without `options.kv_bytes`,
    keys and values get a quarter of the machine's memory, or what the weights leave of the share of the GPU.
    A batch that gives no sign for `stuck_after_s` makes the engine unhealthy. `recorder`: steps with fixed shapes
    that it captures; by default CUDA graphs on a GPU, and none on a CPU, where each take's own shapes are best.

    Raises ModelUnavailable.
    """

    def __init__(
        self,
        entry: ModelEntry,
        *,
        cache_dir: Path,
        options: EngineOptions,
        meter: Meter | None = None,
        stuck_after_s: float = 180.0,
        recorder: Recorder | None = None,
    ) -> None:
        device = choose_device(options.device)
        precision = _choose_precision(options.dtype, device)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        if options.gpu_memory_fraction is not None and device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(options.gpu_memory_fraction)
        if device.type == "cpu" and kernels.is_available():
            # Compiled where they have not been, before the checkpoint is read: both switch the process's warnings.
            import_module(_KERNELS)
        checkpoint = load_checkpoint(entry, device, cache_dir)
        if checkpoint.window_s <= options.extend_stride_s:
            raise ModelUnavailable(
                f"the model sees {checkpoint.window_s:g} s at once, "
                f"but windows start {options.extend_stride_s:g} s apart"
            )
        lm = checkpoint.lm
        self._delays = pattern_delays(lm)
        decoder = Decoder(
            lm,
            linear_maker(device, precision),
            most_rows=2 * options.takes,
            kv_dtype=torch.float32 if device.type == "cpu" else precision.dtype,
        )
        conditioner = Conditioner(checkpoint, device)
        codec = CodecDecoder(conditioner.codec)
        # The matrices live on in the decoder's own layout.
        lm.transformer.layers, lm.linears, lm.emb = (
            torch.nn.ModuleList(),
            torch.nn.ModuleList(),
            torch.nn.ModuleList(),
        )
        self._hop_samples = codec.hop_samples
        frame_rate_hz = codec.sample_rate_hz / codec.hop_samples
        self._window_frames = int(checkpoint.window_s * frame_rate_hz)
        self._stride_frames = int(options.extend_stride_s * frame_rate_hz)
        self._look_ahead_frames = codec.look_ahead_frames
        self._info = EngineInfo(
            model=entry.name,
            engine="segue",
            engine_version=_version(decoder),
            weights_sha256=checkpoint.weights_sha256,
            licence=entry.licence,
            sample_rate_hz=codec.sample_rate_hz,
            channels=codec.channels,
            max_context_s=(self._window_frames - 1) / frame_rate_hz,
            max_duration_s=MAX_DURATION_S,
            modes=(
                GenerationMode.TEXT,
                GenerationMode.CONTINUE,
                GenerationMode.COMPOSE,
                *((GenerationMode.MELODY,) if checkpoint.follows_melody else ()),
            ),
            device=device.type,
            dtype=precision.value,
            # GPU kernels are chosen by hardware and load; only the CPU's are known to repeat themselves.
            reproducible=device.type == "cpu",
        )
        self._stuck_after_s = stuck_after_s
        self._is_closed = False
        kv_bytes = options.kv_bytes or _kv_budget_bytes(device, options.gpu_memory_fraction)
        if recorder is None and device.type == "cuda":
            recorder = CudaRecorder()
        stepper: Stepper = EagerStepper(decoder)
        if recorder is not None:
            longest = self._window_frames + max(self._delays) + _MOST_PREFIX_POSITIONS
            slots = min(options.takes, kv_bytes // decoder.cache_bytes(ROWS, longest + 1))
            if slots == 0:
                raise ModelUnavailable("this share of the GPU's memory has no room for the keys of one take")
            stepper = GraphStepper(decoder, recorder, takes=slots, length=longest)
        self._batch = Batch(
            decoder,
            stepper,
            codec,
            conditioner,
            BatchLimits(
                takes=options.takes if recorder is None else slots,
                waiting=options.waiting,
                kv_bytes=kv_bytes,
                prefill_positions=PREFILL_POSITIONS[device.type],
                lone_prefill_positions=LONE_PREFILL_POSITIONS[device.type],
            ),
            meter or NoMeter(),
            f"musicgen {entry.name}",
            partial(use_threads, options.threads),
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent]:
        self._check_usable()
        check_request(request, self._info)
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[GenerationEvent | EngineError | None] = asyncio.Queue()

        def send(event: GenerationEvent | EngineError | None) -> None:
            try:
                loop.call_soon_threadsafe(events.put_nowait, event)
            except RuntimeError:  # the loop is closed: nobody listens
                take.let_go()

        take = self._take(request, send)
        self._batch.submit(take)
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, EngineError):
                    raise event
                yield event
        finally:
            take.let_go()

    async def info(self) -> EngineInfo:
        return self._info

    async def warm_up(self) -> None:
        request = GenerationRequest(
            request_id="warm-up",
            mode=GenerationMode.TEXT,
            prompt="warm up",
            duration_s=_WARM_UP_S,
            sampling=Sampling(seed=0),
        )
        async for _ in self.generate(request):
            pass

    async def check_health(self) -> None:
        self._check_usable()
        silent_s = self._batch.silent_s
        if silent_s > self._stuck_after_s:
            raise EngineBroken(f"the batch has given no sign for {silent_s:.0f} s")

    async def close(self) -> None:
        self._is_closed = True
        await asyncio.to_thread(self._batch.close, _CLOSE_TIMEOUT_S)

    def _check_usable(self) -> None:
        if self._is_closed:
            raise EngineBroken("the engine is closed")
        if self._batch.failure is not None:
            raise EngineBroken(self._batch.failure)
        if not self._batch.is_alive:
            raise EngineBroken("the engine's thread has ended")

    def _take(
        self, request: GenerationRequest, send: Callable[[GenerationEvent | EngineError | None], None]
    ) -> Take:
        context = audible_context(request, hop_samples=self._hop_samples, window_frames=self._window_frames)
        count = new_samples(request, self._info)
        continues = request.mode is GenerationMode.CONTINUE and context is not None
        plan = GenerationPlan(
            prompt=context.shape[1] // self._hop_samples if continues and context is not None else 0,
            new=-(-count // self._hop_samples),
            window=self._window_frames,
            stride=self._stride_frames,
            pattern_delay=max(self._delays),
            look_ahead=self._look_ahead_frames,
        )
        return Take(request, context, plan, self._delays, self._hop_samples, count, send)


def _version(decoder: Decoder) -> str:
    """What the samples of a request depend on besides the weights."""
    parts = [f"{VERSION_OF_RESULTS}", f"audiocraft{VERSION}", f"torch{torch.__version__}"]
    if decoder.kernels is not None:
        parts.append(f"kernels{decoder.kernels.version}")
    return "+".join(parts)


def use_threads(threads: int | None) -> None:
    """torch's number of threads is kept for each thread."""
    if threads is not None:
        torch.set_num_threads(threads)


def _choose_precision(precision: str, device: torch.device) -> Precision:
    """`auto` is float32 on a CPU, where takes are reproducible to the bit, and bfloat16 on a GPU that has it."""
    if precision == "auto":
        if device.type == "cpu":
            return Precision.FLOAT32
        return Precision.BFLOAT16 if torch.cuda.is_bf16_supported() else Precision.FLOAT16
    try:
        chosen = Precision(precision)
    except ValueError:
        names = ", ".join(Precision)
        raise ModelUnavailable(f"dtype must be auto or one of {names}, not {precision!r}") from None
    if chosen is Precision.FLOAT16 and device.type == "cpu":
        raise ModelUnavailable("dtype float16 needs a GPU; use float32, bfloat16 or int8 on a CPU")
    if chosen is Precision.INT8 and device.type != "cpu":
        raise ModelUnavailable("dtype int8 is for CPUs; use bfloat16 or float16 on a GPU")
    return chosen


def _kv_budget_bytes(device: torch.device, gpu_memory_fraction: float | None) -> int:
    """For the keys and values of all takes, after the weights have been loaded."""
    if device.type == "cpu":
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
        return int(page * pages * _KV_SHARE_OF_MEMORY)
    total = torch.cuda.get_device_properties(device).total_memory
    share = total * (gpu_memory_fraction or 1.0) - torch.cuda.memory_allocated(device)
    # The rest is for activations, the codec and what the allocator cannot use.
    return max(0, int(share * 0.8))
