"""Models behind Serve handles, as stages know them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.protocol import AnalyserInfo, AnalysisRequest
from deployments.engines.protocols import (
    EngineBroken,
    EngineBusy,
    EngineError,
    EngineInfo,
    GenerationEvent,
    GenerationProgress,
    GenerationRequest,
)
from deployments.engines.separation.protocol import Estimates, SegmentRequest, SeparatorInfo
from deployments.load import Load

ACCEPTED = GenerationProgress(0.0)
"""What an engine may say of a take that still waits for its turn."""


class ServedGenerator:
    """A `Generator` deployment as a `MusicGenerator`. Ray's errors become the engine's."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._info: EngineInfo | None = None
        self._has_begun: dict[object, bool] = {}

    @property
    def deployment(self) -> str:
        name: str = self._handle.deployment_name
        return name

    @property
    def load(self) -> Load:
        """The takes asked for here: ongoing from an engine's first step on, queued before, wherever they wait."""
        ongoing = sum(self._has_begun.values())
        return Load(ongoing, len(self._has_begun) - ongoing)

    async def info(self) -> EngineInfo:
        if self._info is None:  # the same for all replicas of one deployment
            try:
                self._info = await self._handle.info.remote()
            except RayError as error:
                raise _engine_error(error) from error
        return self._info

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        events = self._handle.options(stream=True).generate.remote(request)
        take = object()
        self._has_begun[take] = False
        try:
            async for event in events:
                self._has_begun[take] |= event != ACCEPTED
                yield event
        except (RayError, BackPressureError, DeploymentUnavailableError) as error:
            raise _engine_error(error) from error
        finally:
            del self._has_begun[take]
            events.cancel()  # nothing happens if it has ended; otherwise the replica stops at its next step


class ServedSeparator:
    """A `Separator` deployment as a `Separator`. Ray's errors become the engine's."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._info: SeparatorInfo | None = None
        self._under_way = 0

    @property
    def deployment(self) -> str:
        name: str = self._handle.deployment_name
        return name

    @property
    def load(self) -> Load:
        """The segments asked for here, wherever they wait or are worked on."""
        return Load(self._under_way)

    async def info(self) -> SeparatorInfo:
        if self._info is None:  # the same for all replicas of one deployment
            try:
                self._info = await self._handle.info.remote()
            except RayError as error:
                raise _engine_error(error) from error
        return self._info

    async def separate(self, segment: SegmentRequest) -> Estimates:
        answer = self._handle.separate.remote(segment)
        self._under_way += 1
        try:
            estimates: Estimates = await answer
            return estimates
        except (RayError, BackPressureError, DeploymentUnavailableError) as error:
            raise _engine_error(error) from error
        finally:
            self._under_way -= 1
            answer.cancel()  # nothing happens if it has ended


class ServedAnalyser:
    """An `Analyser` deployment as an `Analyser`. Ray's errors become the engine's."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._info: AnalyserInfo | None = None
        self._under_way = 0

    @property
    def deployment(self) -> str:
        name: str = self._handle.deployment_name
        return name

    @property
    def load(self) -> Load:
        """The clips asked for here, wherever they wait or are worked on."""
        return Load(self._under_way)

    async def info(self) -> AnalyserInfo:
        if self._info is None:  # the same for all replicas
            try:
                self._info = await self._handle.info.remote()
            except RayError as error:
                raise _engine_error(error) from error
        return self._info

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        answer = self._handle.analyse.remote(request)
        self._under_way += 1
        try:
            analysis: Analysis = await answer
            return analysis
        except (RayError, BackPressureError, DeploymentUnavailableError) as error:
            raise _engine_error(error) from error
        finally:
            self._under_way -= 1
            answer.cancel()  # nothing happens if it has ended


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, BackPressureError):
        return EngineBusy("the model's queue is full")
    if isinstance(error, RayTaskError) and isinstance(error.cause, EngineError):
        return error.cause
    if isinstance(error, RayActorError):
        return EngineBroken("the model's replica died")
    return EngineBroken(f"the model failed: {type(error).__name__}")
