"""Demucs as a `SeparatorEngine`: the asynchronous outside of its networks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from deployments.engines.common.device import choose_device
from deployments.engines.common.errors import EngineBroken, ModelUnavailable
from deployments.engines.separation.catalog import SeparatorEntry, SeparatorOptions
from deployments.engines.separation.checks import check_segment
from deployments.engines.separation.demucs.bag import Bag, load_bag
from deployments.engines.separation.demucs.memory import keep_freed_memory
from deployments.engines.separation.demucs.network import network_on
from deployments.engines.separation.passes import padded_samples
from deployments.engines.separation.protocol import Estimates, SegmentRequest, SeparatorInfo
from deployments.engines.separation.scheduler import Lanes

# Counted up with every change that gives other samples for the same segment.
VERSION_OF_RESULTS = 2

MOST_CPU_LANES = 2
"""More lanes than segments that a track has in flight would only hold memory."""
_CLOSE_TIMEOUT_S = 30.0
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class DemucsEngine:
    """Satisfies `SeparatorEngine`. The constructor loads the model and blocks meanwhile (a download, for the
    hub's).

    On a CPU the process keeps the memory it has once used. `options.gpu_memory_fraction` caps the process's share
    of the GPU's memory. A segment that takes longer than `stuck_after_s` makes the engine unhealthy.

    Raises ModelUnavailable.
    """

    def __init__(
        self,
        entry: SeparatorEntry,
        *,
        cache_dir: Path,
        options: SeparatorOptions,
        stuck_after_s: float = 300.0,
    ) -> None:
        device = choose_device(options.device)
        dtype = _choose_dtype(options.dtype, device)
        if options.gpu_memory_fraction is not None and device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(options.gpu_memory_fraction)
        self._set_up(entry, load_bag(entry, cache_dir), device, dtype, options, stuck_after_s)

    @classmethod
    def of(cls, entry: SeparatorEntry, bag: Bag, options: SeparatorOptions) -> DemucsEngine:
        """An engine over networks that are in memory already; they belong to it from now on."""
        engine = cls.__new__(cls)
        device = choose_device(options.device)
        engine._set_up(entry, bag, device, _choose_dtype(options.dtype, device), options, 300.0)
        return engine

    def _set_up(
        self,
        entry: SeparatorEntry,
        bag: Bag,
        device: torch.device,
        dtype: torch.dtype,
        options: SeparatorOptions,
        stuck_after_s: float,
    ) -> None:
        on_cpu = device.type == "cpu"
        threads = options.threads or entry.threads or torch.get_num_threads()
        lanes = options.lanes or (min(threads, MOST_CPU_LANES) if on_cpu else 1)
        if on_cpu:
            keep_freed_memory()
        self._networks = [network_on(network, device, dtype) for network in bag.networks]
        self._stuck_after_s = stuck_after_s
        self._info = SeparatorInfo(
            model=entry.name,
            engine="demucs",
            engine_version=f"{VERSION_OF_RESULTS}+demucs{version('demucs')}+torch{torch.__version__}",
            weights_sha256=bag.weights_sha256,
            licence=entry.licence,
            sample_rate_hz=bag.sample_rate_hz,
            channels=bag.channels,
            sources=bag.sources,
            parts=bag.parts,
            device=device.type,
            dtype=str(dtype).removeprefix("torch."),
            # GPU kernels are chosen by hardware and load; only the CPU's are known to repeat themselves.
            reproducible=on_cpu,
        )
        self._lanes = Lanes(
            self._separate,
            count=lanes,
            # One by one is faster on a CPU: what a segment uses stays in its caches.
            batch=1 if on_cpu else options.batch,
            waiting=options.waiting,
            name=f"separator {entry.name}",
            prepare=partial(torch.set_num_threads, max(1, threads // lanes)),
            is_fatal=lambda error: not on_cpu and not isinstance(error, torch.OutOfMemoryError),
        )

    async def separate(self, segment: SegmentRequest) -> Estimates:
        check_segment(segment, self._info)
        return await asyncio.wrap_future(self._lanes.submit(segment))

    async def info(self) -> SeparatorInfo:
        return self._info

    async def warm_up(self) -> None:
        for index, part in enumerate(self._info.parts):
            samples = padded_samples(part, part.segment_samples, None)
            silence = np.zeros((self._info.channels, samples), np.float32)
            await self.separate(SegmentRequest("warm-up", index, silence, self._info.sources))

    async def check_health(self) -> None:
        self._lanes.check(self._stuck_after_s)

    async def close(self) -> None:
        await asyncio.to_thread(self._lanes.close, _CLOSE_TIMEOUT_S)

    def _separate(self, requests: Sequence[SegmentRequest]) -> list[Estimates]:
        """Segments of one part and one length."""
        sources = sorted({self._info.sources.index(name) for each in requests for name in each.sources})
        mix = torch.from_numpy(np.stack([each.samples for each in requests]))
        together = self._networks[requests[0].part](mix, sources).numpy()
        if not np.isfinite(together).all():
            raise EngineBroken("the network's estimates are not finite")
        return [
            estimates[[sources.index(self._info.sources.index(name)) for name in each.sources]]
            for each, estimates in zip(requests, together, strict=True)
        ]


def _choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` is float32: stems are worth it. Raises ModelUnavailable."""
    if dtype != "auto" and dtype not in _DTYPES:
        raise ModelUnavailable(f"dtype must be auto, {' or '.join(_DTYPES)}, not {dtype!r}")
    if dtype == "float16" and device.type == "cpu":
        raise ModelUnavailable("dtype float16 needs a GPU; use float32 or bfloat16 on a CPU")
    return _DTYPES.get(dtype, torch.float32)
