"""Models behind Serve handles, as stages know them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.protocol import AnalyserInfo, AnalysisRequest
from deployments.engines.common.errors import EngineBroken, EngineBusy, EngineError
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationProgress,
    GenerationRequest,
)
from deployments.engines.separation.protocol import Estimates, SegmentRequest, SeparatorInfo
from deployments.telemetry.load import Load

Info = TypeVar("Info")

ACCEPTED = GenerationProgress(0.0)
"""What an engine may say of a take that still waits for its turn."""


class Served(Generic[Info]):
    """A handle to a deployment that hosts a model. Ray's errors become the engine's."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._info: Info | None = None

    @property
    def deployment(self) -> str:
        name: str = self._handle.deployment_name
        return name

    async def info(self) -> Info:
        if self._info is None:  # the same for all replicas of one deployment
            try:
                self._info = await self._handle.info.remote()
            except RayError as error:
                raise _engine_error(error) from error
        return self._info


class ServedGenerator(Served[EngineInfo]):
    """A `Generator` deployment as a `MusicGenerator`."""

    def __init__(self, handle: Any) -> None:
        super().__init__(handle)
        self._has_begun: dict[object, bool] = {}

    @property
    def load(self) -> Load:
        """The takes asked for here: ongoing from an engine's first step on, queued before, wherever they wait."""
        ongoing = sum(self._has_begun.values())
        return Load(ongoing, len(self._has_begun) - ongoing)

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


class ServedAnswers(Served[Info]):
    """A deployment whose work is one answer to one request."""

    def __init__(self, handle: Any) -> None:
        super().__init__(handle)
        self._under_way = 0

    @property
    def load(self) -> Load:
        """What is asked for here, wherever it waits or is worked on."""
        return Load(self._under_way)

    async def _answer(self, response: Any) -> Any:
        self._under_way += 1
        try:
            return await response
        except (RayError, BackPressureError, DeploymentUnavailableError) as error:
            raise _engine_error(error) from error
        finally:
            self._under_way -= 1
            response.cancel()  # nothing happens if it has ended


class ServedSeparator(ServedAnswers[SeparatorInfo]):
    """A `Separator` deployment as a `Separator`."""

    async def separate(self, segment: SegmentRequest) -> Estimates:
        estimates: Estimates = await self._answer(self._handle.separate.remote(segment))
        return estimates


class ServedAnalyser(ServedAnswers[AnalyserInfo]):
    """An `Analyser` deployment as an `Analyser`."""

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        analysis: Analysis = await self._answer(self._handle.analyse.remote(request))
        return analysis


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, BackPressureError):
        return EngineBusy("the model's queue is full")
    if isinstance(error, RayTaskError) and isinstance(error.cause, EngineError):
        return error.cause
    if isinstance(error, RayActorError):
        return EngineBroken("the model's replica died")
    return EngineBroken(f"the model failed: {type(error).__name__}")
