"""A generator behind a Serve handle: what waits and what is worked on is known where it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError

from deployments.engines.common.errors import EngineBroken, EngineBusy, EngineError
from deployments.engines.music.protocol import GenerationMode, GenerationProgress, GenerationRequest, Sampling
from deployments.serve.handles import ServedGenerator
from deployments.telemetry.load import Load

REQUEST = GenerationRequest(
    request_id="job-1", mode=GenerationMode.TEXT, prompt="", duration_s=1.0, sampling=Sampling(seed=0)
)


class Answer:
    """What a streaming call gives: events as they are put, None at the end, or an error."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[GenerationProgress | Exception | None] = asyncio.Queue()
        self.is_cancelled = False

    async def __aiter__(self) -> AsyncIterator[GenerationProgress]:
        while (event := await self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def cancel(self) -> None:
        self.is_cancelled = True


class Handle:
    """A deployment's handle, as far as it is used for takes. `answers` are those of the calls so far."""

    deployment_name = "Generator"

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def options(self, **_: Any) -> Handle:
        return self

    @property
    def generate(self) -> Handle:
        return self

    def remote(self, _: GenerationRequest, origin: Mapping[str, str]) -> Answer:
        self.answers.append(Answer())
        return self.answers[-1]


async def test_a_take_waits_until_its_first_step_and_is_counted_until_its_end() -> None:
    handle = Handle()
    generator = ServedGenerator(handle)
    assert generator.deployment == "Generator"
    async with (
        aclosing(generator.generate(REQUEST)) as first,
        aclosing(generator.generate(REQUEST)) as second,
    ):
        waiting = [asyncio.ensure_future(anext(take)) for take in (first, second)]
        await asyncio.sleep(0)
        assert generator.load == Load(ongoing=0, queued=2)
        handle.answers[0].events.put_nowait(GenerationProgress(0.0))
        assert await waiting[0] == GenerationProgress(0.0)
        assert generator.load == Load(ongoing=0, queued=2)
        handle.answers[0].events.put_nowait(GenerationProgress(0.1))
        assert await anext(first) == GenerationProgress(0.1)
        assert generator.load == Load(ongoing=1, queued=1)
        handle.answers[0].events.put_nowait(None)
        assert [event async for event in first] == []
        assert generator.load == Load(ongoing=0, queued=1)
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert generator.load == Load()
    assert all(answer.is_cancelled for answer in handle.answers)


@pytest.mark.parametrize(
    ("error", "expected"), [(RayActorError(), EngineBroken), (BackPressureError(1, 1), EngineBusy)]
)
async def test_a_take_that_fails_is_counted_no_more(error: Exception, expected: type[EngineError]) -> None:
    handle = Handle()
    generator = ServedGenerator(handle)
    take = generator.generate(REQUEST)
    first = asyncio.ensure_future(anext(aiter(take)))
    await asyncio.sleep(0)
    handle.answers[0].events.put_nowait(error)
    with pytest.raises(expected):
        await first
    assert generator.load == Load()
