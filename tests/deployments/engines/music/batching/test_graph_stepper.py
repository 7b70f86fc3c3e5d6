"""The steps that a GPU replays, run by a recorder that calls them: the same takes as the eager engine's, whatever
happens around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from deployments.engines.common.errors import EngineBroken
from deployments.engines.music.batching.engine import SegueEngine
from deployments.engines.music.batching.graph_stepper import EagerRecorder, GraphStepper, Step
from deployments.engines.music.catalog import find
from deployments.engines.music.protocol import GenerationMode, GenerationRequest
from tests.deployments.engines.loaded import TINY, chord, hear, make_request, model_cache, tiny_engine

pytestmark = pytest.mark.torch


@asynccontextmanager
async def _graphs(
    name: str = "tiny", recorder: EagerRecorder | None = None, **options: Any
) -> AsyncIterator[SegueEngine]:
    engine = SegueEngine(
        find(name),
        cache_dir=model_cache(),
        options=replace(TINY, **{"takes": 4, **options}),
        recorder=recorder or EagerRecorder(),
    )
    try:
        yield engine
    finally:
        await engine.close()


def _requests() -> list[GenerationRequest]:
    """Of all settings, lengths and beginnings; some are over before others come."""
    context = chord(1.0)
    return [
        make_request(duration_s=0.5, seed=1),
        make_request(duration_s=2.0, seed=2, cfg_coef=1.0),
        make_request(duration_s=1.0, seed=3, temperature=0.0),
        make_request(duration_s=6.0, seed=4, top_k=0),
        make_request(duration_s=0.7, seed=5, top_p=0.8),
        make_request(duration_s=1.2, seed=6, mode=GenerationMode.CONTINUE, context=context),
        make_request(
            duration_s=0.4, seed=7, prompt="many more words than any other of these prompts has " * 3
        ),
    ]


async def test_takes_are_those_of_the_eager_engine_whoever_comes_and_goes() -> None:
    eager = [(await hear(tiny_engine(), request)).audio.tobytes() for request in _requests()]
    recorder = EagerRecorder()
    async with _graphs(recorder=recorder) as engine:

        async def later(index: int, request: GenerationRequest) -> bytes:
            await asyncio.sleep(0.02 * index)
            return (await hear(engine, request)).audio.tobytes()

        doomed = asyncio.create_task(hear(engine, make_request(duration_s=60.0, seed=9)))
        heard = asyncio.gather(*(later(*item) for item in enumerate(_requests())))
        await asyncio.sleep(0.3)
        doomed.cancel()
        assert await heard == eager
        # Sizes are few, however many takes there are: 1, 2 and 4 slots by 256, 512 ... positions.
        assert 2 <= recorder.recorded <= 12


async def test_takes_over_several_windows() -> None:
    request = make_request(duration_s=33.0, seed=3)
    expected = (await hear(tiny_engine(), request)).audio.tobytes()
    async with _graphs() as engine:
        other = asyncio.create_task(hear(engine, make_request(duration_s=3.0, seed=4)))
        assert (await hear(engine, request)).audio.tobytes() == expected
        await other


async def test_a_melody_stands_before_the_tokens() -> None:
    request = make_request(duration_s=0.5, mode=GenerationMode.MELODY, context=chord(1.0))
    expected = (await hear(tiny_engine("tiny-melody"), request)).audio.tobytes()
    async with _graphs("tiny-melody") as engine:
        assert (await hear(engine, request)).audio.tobytes() == expected


async def test_running_out_of_memory_in_a_step_ends_its_takes_and_the_replica_stays_healthy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _graphs() as engine:
        expected = (await hear(engine, make_request())).audio.tobytes()
        with monkeypatch.context() as patched:

            def full(*_: Any) -> Tensor:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB; see /proc")

            patched.setattr(GraphStepper, "step", full)
            with pytest.raises(EngineBroken, match="no memory left") as raised:
                await hear(engine, make_request())
            assert "GiB" not in str(raised.value)
        await engine.check_health()
        assert (await hear(engine, make_request())).audio.tobytes() == expected


async def test_what_recording_does_to_the_takes_is_undone() -> None:
    """A CUDA graph is captured after a step that sets the libraries up."""

    class Stepping(EagerRecorder):
        def record(self, step: Step) -> Step:
            step()
            return super().record(step)

    request = make_request(duration_s=6.0, seed=4)
    expected = (await hear(tiny_engine(), request)).audio.tobytes()
    async with _graphs(recorder=Stepping()) as engine:
        assert (await hear(engine, request)).audio.tobytes() == expected
