"""What the replicas that host an engine have in common: they load it by its family, and answer for its health."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import ray
from ray import serve

from configs.settings import Settings
from deployments.engines.common.errors import EngineError
from deployments.engines.common.hosted import Hosted
from deployments.engines.families import ServedModel
from deployments.serve.loading import Reporter, load_patiently
from deployments.serve.loopback import listen_where_the_node_is
from deployments.telemetry import catalog
from deployments.telemetry.context import continued
from deployments.telemetry.logs import configure_logging
from deployments.telemetry.recorder import RayRecorder
from deployments.telemetry.traces import configure_traces
from deployments.telemetry.usage import SharedClock

H = TypeVar("H", bound=Hosted[Any])

Origin = Mapping[str, str]
"""What a request belongs to, as `telemetry.context.carried` gives it."""


class EngineReplica(Generic[H]):
    """Loads its model before it is ready, so that no request waits for weights. A subclass has what its engines do
    as methods. An engine that fails its check has the replica replaced; it is closed with it.

    A replica never waits on storage, HTTP or ffmpeg, and keeps no state that a request depends on.
    """

    _engine: H

    async def __init__(  # type: ignore[misc]
        self, model: ServedModel[Any], settings: Settings, hub: Any, **more: Any
    ) -> None:
        """Serve shows a constructor that fails as three tracebacks and gives up: this one tries again instead, and
        reports meanwhile. `more` is what the family's `load` takes besides."""
        context = serve.get_replica_context()
        configure_logging(settings)
        configure_traces(settings.telemetry, context.deployment)
        listen_where_the_node_is()
        self._recorder = RayRecorder()
        self._share = _gpu_share()
        self._clock = SharedClock(self._spent)

        async def attempt() -> H:
            began_s = time.monotonic()
            try:
                engine: H = await asyncio.to_thread(model.load, settings, self._share, **more)
                await engine.warm_up()
            except EngineError:
                self._recorder.record(catalog.MODEL_LOAD_FAILURES, 1)
                raise
            self._recorder.record(catalog.MODEL_LOAD_SECONDS, time.monotonic() - began_s)
            return engine

        reporter = Reporter(hub, context.deployment, context.replica_tag)
        reporting = asyncio.create_task(reporter.run())
        try:
            self._engine = await load_patiently(model.weights, attempt, reporter)
        except BaseException:
            reporting.cancel()
            raise
        self._reporting = reporting  # ends by itself with the next report, that there is nothing to report
        logger = logging.getLogger(f"segue.{model.family.name.lower()}")
        logger.info("model ready: %s", (await self._engine.info()).describe())

    @contextmanager
    def _working(self, origin: Origin | None, what: str) -> Iterator[None]:
        """Around one request's time in the engine: its tenant is charged with its share, and log lines and spans
        have its ids."""
        with continued(origin, what), self._clock.running((origin or {}).get("tenant", "")):
            yield

    def _spent(self, tenant: str, seconds: float) -> None:
        self._recorder.record(catalog.MODEL_SECONDS, seconds, tenant=tenant)
        self._recorder.record(catalog.GPU_SECONDS, seconds * (self._share or 0.0), tenant=tenant)

    async def info(self) -> Any:
        return await self._engine.info()

    async def check_health(self) -> None:
        await self._engine.check_health()

    async def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            await engine.close()


def _gpu_share() -> float | None:
    """The fraction of one GPU that this replica has; None without a GPU."""
    share = float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))
    return share or None
