from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.engines.analysis import engine as engine_module
from deployments.engines.analysis.catalog import AnalyserOptions, find
from deployments.engines.analysis.engine import SignalAnalyser
from deployments.engines.analysis.protocol import AnalysisRequest
from deployments.engines.common.errors import EngineBroken, EngineBusy
from tests.deployments.engines.analysis.sounds import RATE_HZ, noise


def make(*, waiting: int = 16, stuck_after_s: float = 300.0) -> SignalAnalyser:
    options = AnalyserOptions(melody="none", threads=1, lanes=1, waiting=waiting)
    return SignalAnalyser(
        find("signal"), cache_dir=Path("/nonexistent"), options=options, stuck_after_s=stuck_after_s
    )


CLIP = AnalysisRequest("test", noise(0.2)[None], RATE_HZ)


class Gate:
    """A part of the analysis that waits until it may go on."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self._original = original
        self.calls = 0
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        self.reached.set()
        assert self.opened.wait(30)
        return self._original(*arguments)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(engine_module.energy_curve)
    monkeypatch.setattr(engine_module, "energy_curve", gate)
    return gate


async def reached(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.reached.wait, 30)


async def test_a_full_queue_refuses(gate: Gate) -> None:
    engine = make(waiting=1)
    work = [asyncio.create_task(engine.analyse(CLIP)) for _ in range(2)]
    await reached(gate)
    with pytest.raises(EngineBusy):
        await engine.analyse(CLIP)
    gate.opened.set()
    assert len(await asyncio.gather(*work)) == 2
    await engine.analyse(CLIP)
    await engine.close()


async def test_a_clip_that_is_cancelled_while_it_waits_is_never_begun(gate: Gate) -> None:
    engine = make()
    first = asyncio.create_task(engine.analyse(CLIP))
    await reached(gate)
    second = asyncio.create_task(engine.analyse(CLIP))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.opened.set()
    await first
    await engine.close()
    assert gate.calls == 1


async def test_a_cancelled_clip_is_given_up_after_the_part_it_is_at(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[object] = []
    monkeypatch.setattr(engine_module, "measure_level", lambda *_: later.append(0))
    engine = make()
    work = asyncio.create_task(engine.analyse(CLIP))
    await reached(gate)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    gate.opened.set()
    await engine.close()
    assert later == []


async def test_a_part_that_fails_is_named_and_the_next_clip_works(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make()
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "key_of", lambda *_: 1 // 0)
        with pytest.raises(EngineBroken, match="key failed: ZeroDivisionError"):
            await engine.analyse(CLIP)
    await engine.check_health()
    await engine.analyse(CLIP)
    await engine.close()


async def test_a_clip_that_takes_too_long_makes_it_unhealthy(gate: Gate) -> None:
    engine = make(stuck_after_s=0.0)
    await engine.check_health()
    work = asyncio.create_task(engine.analyse(CLIP))
    await reached(gate)
    await asyncio.sleep(0.01)
    with pytest.raises(EngineBroken, match="a clip has taken"):
        await engine.check_health()
    gate.opened.set()
    await work
    await engine.check_health()
    await engine.close()


async def test_closing_refuses_what_waits_and_lets_the_rest_end(gate: Gate) -> None:
    engine = make()
    first, second = (asyncio.create_task(engine.analyse(CLIP)) for _ in range(2))
    await reached(gate)
    closing = asyncio.create_task(engine.close())
    with pytest.raises(EngineBroken, match="closed"):
        await second
    gate.opened.set()
    assert (await first).prompt
    await closing
