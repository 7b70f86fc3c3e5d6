"""A mock engine whose takes go as a test wants them to, and that counts them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np

from deployments.engines.common.errors import BadRequest, EngineBroken, EngineError
from deployments.engines.music.mock import MockEngine
from deployments.engines.music.protocol import GenerationEvent, GenerationRequest, Segment
from tests.support.patience import until

SLOW_S = 60.0
"""A step that no test waits for."""


class ScriptedEngine(MockEngine):
    """A take begins once `may_begin` is set, as it is at first, and gives so many segments (of its ten) as were
    `allowed`; None: all of them. After `fails_after` segments it raises `error`. One with the prompt `slow` is not
    ready before its job is cancelled, one with the prompt `fail` is refused.

    `level` is a factor of the sound, `facts` are fields of the engine's info.
    """

    def __init__(
        self,
        *,
        allowed: int | None = None,
        fails_after: int | None = None,
        error: EngineError | None = None,
        level: float = 1.0,
        facts: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._info = replace(self._info, **(facts or {}))
        self._slow = MockEngine(step_delay_s=SLOW_S)
        self._gate = None if allowed is None else asyncio.Semaphore(allowed)
        self._fails_after = fails_after
        self._error = error or EngineBroken("out of memory")
        self._level = np.float32(level)
        self.may_begin = asyncio.Event()
        self.may_begin.set()
        self.requests: list[GenerationRequest] = []
        self.running = 0
        """The takes under way."""
        self.given = 0
        """Segments of all takes."""
        self.failures = 0
        self.finished: Counter[str] = Counter()
        """The takes that came to their end, by request."""

    def allow(self, segments: int = 10_000) -> None:
        assert self._gate is not None
        for _ in range(segments):
            self._gate.release()

    async def until_running(self, count: int) -> None:
        await until(lambda: self.running == count)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent]:
        self.requests.append(request)
        if request.prompt == "fail":
            raise BadRequest("this cannot be played")
        made = self._slow.generate(request) if request.prompt == "slow" else super().generate(request)
        self.running += 1
        try:
            async with aclosing(made) as events:
                await self.may_begin.wait()
                given = 0
                async for event in events:
                    if isinstance(event, Segment):
                        await self._pass(given)
                        given += 1
                        yield Segment(event.samples * self._level)
                    else:
                        yield event
            self.finished[request.request_id] += 1
        finally:
            self.running -= 1

    async def _pass(self, given: int) -> None:
        """Before a take's next segment."""
        if given == self._fails_after:
            self.failures += 1
            raise self._error
        if self._gate is not None:
            await self._gate.acquire()
        self.given += 1
