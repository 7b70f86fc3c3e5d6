"""What the replicas that host an engine have in common."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

Info = TypeVar("Info", covariant=True)
E = TypeVar("E", bound="Hosted[Any]")


class Hosted(Protocol[Info]):
    async def info(self) -> Info: ...
    async def check_health(self) -> None: ...
    async def close(self) -> None: ...


class EngineReplica(Generic[E]):
    """A subclass sets `_engine`. An engine that fails its check has the replica replaced; it is closed with it."""

    _engine: E

    async def info(self) -> Any:
        return await self._engine.info()

    async def check_health(self) -> None:
        await self._engine.check_health()

    async def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            await engine.close()
