"""What the replicas that host an engine have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ray import serve

from deployments.engines.common.hub.needs import Weights
from deployments.serve.loading import Reporter, load_patiently

Info = TypeVar("Info", covariant=True)
E = TypeVar("E", bound="Hosted[Any]")


class Hosted(Protocol[Info]):
    async def info(self) -> Info: ...
    async def warm_up(self) -> None: ...
    async def check_health(self) -> None: ...
    async def close(self) -> None: ...


class EngineReplica(Generic[E]):
    """A subclass's constructor sets `_engine` to what `_loaded` returns. An engine that fails its check has the
    replica replaced; it is closed with it."""

    _engine: E

    async def _loaded(self, find_weights: Callable[[], Weights | None], load: Callable[[], E], hub: Any) -> E:
        """An engine that is loaded and warm. Serve shows a constructor that fails as three tracebacks and gives up:
        this one tries again instead, and reports meanwhile."""

        async def attempt() -> E:
            engine = await asyncio.to_thread(load)
            await engine.warm_up()
            return engine

        context = serve.get_replica_context()
        reporter = Reporter(hub, context.deployment, context.replica_tag)
        reporting = asyncio.create_task(reporter.run())
        try:
            engine = await load_patiently(find_weights, attempt, reporter)
        except BaseException:
            reporting.cancel()
            raise
        self._reporting = reporting  # ends by itself with the next report, that there is nothing to report
        return engine

    async def info(self) -> Any:
        return await self._engine.info()

    async def check_health(self) -> None:
        await self._engine.check_health()

    async def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            await engine.close()
