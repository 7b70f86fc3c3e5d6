"""Models behind Serve handles, as stages know them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.protocol import AnalyserInfo, AnalysisRequest
from deployments.engines.common.errors import (
    EngineBroken,
    EngineBusy,
    EngineError,
    ModelLoading,
    ModelUnavailable,
)
from deployments.engines.families import ANALYSER, GENERATOR, SEPARATOR, Family, ServedModel, of_family
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationProgress,
    GenerationRequest,
)
from deployments.engines.separation.protocol import Estimates, SegmentRequest, SeparatorInfo
from deployments.serve.loading import AskLoading, nothing_loads
from deployments.telemetry.context import carried
from deployments.telemetry.load import Load

Info = TypeVar("Info")
S = TypeVar("S", bound="Served[Any]")

ACCEPTED = GenerationProgress(0.0)
"""What an engine may say of a take that still waits for its turn."""


LOOK_S = 1.0
"""Between looks at a model that is waited for."""

LONGEST_WAIT_S = 20.0
"""For a model of which nothing is known: neither that it loads nor that it failed."""


class Served(Generic[Info]):
    """A handle to a deployment that hosts a model. Ray's errors become the engine's.

    `loading` returns the models that load, by deployment; one that loads is waited for `patience_s`.
    """

    def __init__(
        self,
        handle: Any,
        loading: AskLoading = nothing_loads,
        *,
        patience_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._handle = handle
        self._loading = loading
        self._patience_s = patience_s
        self._info: Info | None = None
        self._has_begun: dict[object, bool] = {}

    @property
    def deployment(self) -> str:
        name: str = self._handle.deployment_name
        return name

    @property
    def load(self) -> Load:
        """What is requested here, wherever it waits: queued until it has begun, then ongoing."""
        ongoing = sum(self._has_begun.values())
        return Load(ongoing, len(self._has_begun) - ongoing)

    async def info(self) -> Info:
        """The same for all replicas of one deployment. Raises ModelLoading, ModelUnavailable: Serve itself would
        wait without end for a first replica, also for one that failed meanwhile."""
        if self._info is None:
            response = self._handle.info.remote()
            answer = asyncio.ensure_future(_awaited(response))
            try:
                await self._watch(answer)
                self._info = await answer
            except (RayError, BackPressureError, DeploymentUnavailableError) as error:
                raise _engine_error(error) from error
            finally:
                if not answer.done():
                    answer.add_done_callback(_taken)
                    response.cancel()
                    answer.cancel()
        return self._info

    async def _answer(self, response: Any) -> Any:
        """One answer to one request; an engine does not say when it begins."""
        request = object()
        self._has_begun[request] = True
        try:
            return await response
        except (RayError, BackPressureError, DeploymentUnavailableError) as error:
            raise _engine_error(error) from error
        finally:
            del self._has_begun[request]
            response.cancel()  # nothing happens if it has ended

    async def _watch(self, answer: asyncio.Future[Any]) -> None:
        started_s = time.monotonic()
        while True:
            done, _ = await asyncio.wait({answer}, timeout=LOOK_S)
            if done:
                return
            state = (await self._loading()).get(self.deployment)
            waited_s = time.monotonic() - started_s
            if state is not None and state.error:
                raise ModelUnavailable(f"the model {state.sentence}")
            if state is not None and waited_s > self._patience_s:
                raise ModelLoading(f"the model {state.sentence}")
            if waited_s > LONGEST_WAIT_S:
                raise EngineBusy("the model is not ready yet")


class ServedGenerator(Served[EngineInfo]):
    """A `Generator` deployment as a `MusicGenerator`. A take begins with an engine's first step."""

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        events = self._handle.options(stream=True).generate.remote(request, carried())
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


class ServedSeparator(Served[SeparatorInfo]):
    """A `Separator` deployment as a `Separator`."""

    async def separate(self, segment: SegmentRequest) -> Estimates:
        estimates: Estimates = await self._answer(self._handle.separate.remote(segment, carried()))
        return estimates


class ServedAnalyser(Served[AnalyserInfo]):
    """An `Analyser` deployment as an `Analyser`."""

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        await self.info()  # a model that loads is waited for there
        analysis: Analysis = await self._answer(self._handle.analyse.remote(request, carried()))
        return analysis


@dataclass(frozen=True, slots=True)
class ModelHandles:
    """What serves each model, by model name; `analyser` None: there is none."""

    generators: Mapping[str, ServedGenerator]
    separators: Mapping[str, ServedSeparator]
    analyser: ServedAnalyser | None

    def loads(self) -> dict[str, Load]:
        """What is requested through these handles, by deployment."""
        analysers = [self.analyser] if self.analyser is not None else []
        served: list[Served[Any]] = [*self.generators.values(), *self.separators.values(), *analysers]
        return {each.deployment: each.load for each in served}


def model_handles(
    models: Sequence[ServedModel[Any]],
    handles: Mapping[str, Any],
    loading: AskLoading,
    *,
    patience_s: float = LONGEST_WAIT_S,
) -> ModelHandles:
    """`handles` are Serve's, by deployment."""

    def served(kind: type[S], family: Family[Any, Any, Any]) -> dict[str, S]:
        return {
            model.entry.name: kind(handles[model.deployment], loading, patience_s=patience_s)
            for model in of_family(family, models)
        }

    return ModelHandles(
        generators=served(ServedGenerator, GENERATOR),
        separators=served(ServedSeparator, SEPARATOR),
        analyser=next(iter(served(ServedAnalyser, ANALYSER).values()), None),
    )


async def _awaited(response: Any) -> Any:
    return await response


def _taken(answer: asyncio.Future[Any]) -> None:
    """Serve ends a cancelled request with an error of its own, which nobody waits for any more."""
    if not answer.cancelled():
        answer.exception()


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, BackPressureError):
        return EngineBusy("the model's queue is full")
    if isinstance(error, RayTaskError) and isinstance(error.cause, EngineError):
        return error.cause
    if isinstance(error, DeploymentUnavailableError):
        return ModelUnavailable("the model cannot be started; the server's log says why")
    if isinstance(error, RayActorError):
        return EngineBroken("the model's replica died")
    return EngineBroken(f"the model failed: {type(error).__name__}")
