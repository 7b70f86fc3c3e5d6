"""What a piece of work takes of models' time and of the storage, counted where it happens.

Work runs in a context with its `Spending`; the wrappers here, around whatever serves a model, find it there. Two
requests of one piece of work that overlap count once: it is time, not work.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar

from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.protocol import Analyser, AnalyserInfo, AnalysisRequest
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationProgress,
    GenerationRequest,
    MusicGenerator,
)
from deployments.engines.separation.protocol import Estimates, SegmentRequest, Separator, SeparatorInfo

WAITING = GenerationProgress(0.0)
"""What an engine may say of a take that still waits for its turn."""


class Spending:
    """Of one piece of work, in one event loop."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._begun_s: float | None = None
        self._under_way = 0
        self._gpu_s = 0.0
        self.stored_bytes = 0

    @property
    def gpu_s(self) -> float:
        """Seconds in which at least one model worked for it, up to now."""
        running_s = self._monotonic() - self._begun_s if self._begun_s is not None else 0.0
        return self._gpu_s + running_s

    @contextmanager
    def model_time(self) -> Iterator[None]:
        if self._under_way == 0:
            self._begun_s = self._monotonic()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if self._under_way == 0:
                self._gpu_s = self.gpu_s
                self._begun_s = None


_current: ContextVar[Spending | None] = ContextVar("segue_spending", default=None)


@contextmanager
def charged_to(spending: Spending) -> Iterator[Spending]:
    """Count what happens in this context, and in the tasks that are begun in it."""
    token = _current.set(spending)
    try:
        yield spending
    finally:
        _current.reset(token)


def count_stored(size_bytes: int) -> None:
    """So much was stored for the work at hand."""
    spending = _current.get()
    if spending is not None:
        spending.stored_bytes += size_bytes


@contextmanager
def _model_time() -> Iterator[None]:
    spending = _current.get()
    if spending is None:
        yield
    else:
        with spending.model_time():
            yield


class MeteredGenerator:
    """Satisfies `MusicGenerator`. A take that waits for its turn takes no time of the model."""

    def __init__(self, generator: MusicGenerator) -> None:
        self._generator = generator

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        async with aclosing(self._generator.generate(request)) as events:  # type: ignore[type-var]
            async for event in events:
                if event != WAITING:
                    break
                yield event
            else:
                return
            with _model_time():
                yield event
                async for later in events:
                    yield later

    async def info(self) -> EngineInfo:
        return await self._generator.info()


class MeteredSeparator:
    """Satisfies `Separator`."""

    def __init__(self, separator: Separator) -> None:
        self._separator = separator

    async def separate(self, segment: SegmentRequest) -> Estimates:
        with _model_time():
            return await self._separator.separate(segment)

    async def info(self) -> SeparatorInfo:
        return await self._separator.info()


class MeteredAnalyser:
    """Satisfies `Analyser`."""

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        with _model_time():
            return await self._analyser.analyse(request)

    async def info(self) -> AnalyserInfo:
        return await self._analyser.info()
