"""The `JobRunner` deployment: a worker on the store, and generators behind Serve handles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from configs.logs import configure_logging
from configs.settings import Settings
from deployments.engines.protocols import (
    EngineBroken,
    EngineBusy,
    EngineError,
    EngineInfo,
    GenerationEvent,
    GenerationProgress,
    GenerationRequest,
)
from deployments.jobs.assembly import build_worker
from deployments.load import Load
from deployments.notices import Announcer, HubBus
from storage.jobs import JobKey
from storage.stores import check_store, open_store

ACCEPTED = GenerationProgress(0.0)
"""What an engine may say of a take that still waits for its turn."""

WRITING_PROCESSES = 2
"""At least: an ingress and a runner. So the store is always held to what several writers need."""


class JobRunner:
    async def __init__(  # type: ignore[misc]
        self, settings: Settings, generators: Mapping[str, Any], hub: Any
    ) -> None:
        configure_logging(settings)
        self._store = open_store(settings.storage)
        await check_store(self._store, settings.storage, replicas=WRITING_PROCESSES)
        self._generators = {model: ServedGenerator(handle) for model, handle in generators.items()}
        self._worker = build_worker(
            self._store,
            self._generators,
            Announcer(HubBus(hub)),
            settings,
        )
        self._worker.start()

    async def submit(self, key: JobKey) -> None:
        self._worker.submit(key)

    async def look_at(self, key: JobKey) -> None:
        self._worker.look_at(key)

    async def load(self) -> dict[str, Load]:
        """This runner's jobs, and its takes at each generator, by the deployment's name."""
        takes = {generator.deployment: generator.load for generator in self._generators.values()}
        return {"JobRunner": Load(self._worker.running, self._worker.queued), **takes}

    async def check_health(self) -> None:
        if not self._worker.is_alive():
            raise RuntimeError("the worker's tasks have ended")

    async def __del__(self) -> None:
        await self._worker.stop()
        await self._store.close()


JobRunnerDeployment = serve.deployment(
    name="JobRunner", max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.1}
)(JobRunner)


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


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, BackPressureError):
        return EngineBusy("the generator's queue is full")
    if isinstance(error, RayTaskError) and isinstance(error.cause, EngineError):
        return error.cause
    if isinstance(error, RayActorError):
        return EngineBroken("the generator died")
    return EngineBroken(f"the generator failed: {type(error).__name__}")
