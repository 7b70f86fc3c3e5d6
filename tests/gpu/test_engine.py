from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from deployments.engines.common.device import Device
from deployments.engines.common.errors import EngineBroken
from deployments.engines.music.batching.decoder import Decoder
from deployments.engines.music.batching.engine import SegueEngine
from deployments.engines.music.batching.graph_stepper import EagerRecorder
from deployments.engines.music.batching.philox import gumbel
from deployments.engines.music.catalog import find
from tests.deployments.engines.loaded import TINY, hear, level_db, make_request, model_cache, tiny_engine

pytestmark = [pytest.mark.gpu, pytest.mark.torch]


@asynccontextmanager
async def _gpu(dtype: str = "float32", **more: Any) -> AsyncIterator[SegueEngine]:
    options = replace(TINY, device=Device.CUDA, dtype=dtype, takes=4)
    engine = SegueEngine(find("tiny"), cache_dir=model_cache(), options=options, **more)
    try:
        yield engine
    finally:
        await engine.close()


def test_the_random_stream_is_the_processors() -> None:
    on_gpu = gumbel(7, 30, 5, 4, 2048, torch.device("cuda")).cpu()
    torch.testing.assert_close(on_gpu, gumbel(7, 30, 5, 4, 2048, torch.device("cpu")), rtol=1e-5, atol=1e-6)


async def test_graphs_draw_what_the_same_steps_draw_without() -> None:
    requests = [
        make_request(duration_s=duration_s, seed=seed) for seed, duration_s in enumerate((0.5, 2.0, 6.0))
    ]
    async with _gpu() as graphs, _gpu(recorder=EagerRecorder()) as eager:
        together = await asyncio.gather(*(hear(graphs, request) for request in requests))
        for request, heard in zip(requests, together, strict=True):
            alone = await hear(eager, request)
            assert np.abs(heard.audio - alone.audio).max() < 1e-3


async def test_greedy_tokens_in_float32_are_the_processors() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    request = make_request(duration_s=2.0, temperature=0.0)
    async with _gpu() as engine:
        heard = await hear(engine, request)
    assert np.abs(heard.audio - (await hear(tiny_engine(), request)).audio).max() < 1e-2


async def test_bfloat16_plays_at_the_same_level() -> None:
    request = make_request(duration_s=2.0)
    async with _gpu("bfloat16") as engine:
        heard = await hear(engine, request)
    assert abs(level_db(heard.audio) - level_db((await hear(tiny_engine(), request)).audio)) < 3.0


async def test_a_take_that_runs_out_of_memory_leaves_a_healthy_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _gpu() as engine:
        with monkeypatch.context() as patched:

            def hungry(*_: Any) -> Any:
                return torch.empty(1 << 60, dtype=torch.uint8, device="cuda")

            patched.setattr(Decoder, "prefill", hungry)
            with pytest.raises(EngineBroken, match="no memory left"):
                await hear(engine, make_request())
        await engine.check_health()
        assert (await hear(engine, make_request())).audio.size


_TWO_SHARES = """
import torch
torch.cuda.set_per_process_memory_fraction(0.25)
total = torch.cuda.get_device_properties(0).total_memory
held = torch.empty(int(total * 0.2), dtype=torch.uint8, device="cuda")
try:
    torch.empty(int(total * 0.1), dtype=torch.uint8, device="cuda")
except torch.OutOfMemoryError:
    print("kept")
"""


def test_two_replicas_keep_to_their_shares() -> None:
    replicas = [
        subprocess.Popen([sys.executable, "-c", _TWO_SHARES], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [replica.communicate(timeout=120)[0].strip() for replica in replicas] == ["kept", "kept"]
