"""What the replicas that host an engine have in common: they load it by its family, and answer for its health."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Generic, TypeVar

import ray
from ray import serve

from configs.settings import Settings
from deployments.engines.common.hosted import Hosted
from deployments.engines.families import ServedModel
from deployments.serve.loading import Reporter, load_patiently
from deployments.serve.loopback import listen_where_the_node_is
from deployments.telemetry.logs import configure_logging

H = TypeVar("H", bound=Hosted[Any])


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
        configure_logging(settings)
        listen_where_the_node_is()

        async def attempt() -> H:
            engine: H = await asyncio.to_thread(model.load, settings, _gpu_share(), **more)
            await engine.warm_up()
            return engine

        context = serve.get_replica_context()
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
