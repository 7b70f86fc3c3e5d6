"""What every engine has, whatever its family, and the part of it that needs no model."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from deployments.engines.common.errors import EngineBroken

Info = TypeVar("Info")
InfoOut = TypeVar("InfoOut", covariant=True)


class Hosted(Protocol[InfoOut]):
    """A model loaded in this process."""

    async def info(self) -> InfoOut: ...

    async def warm_up(self) -> None:
        """One small request through every part, so that the first real one is not the slow one."""
        ...

    async def check_health(self) -> None:
        """Raises EngineError if the engine cannot work any more (a broken device, a stuck step)."""
        ...

    async def close(self) -> None: ...


class MockHosted(Generic[Info]):
    """Satisfies `Hosted` without a model; a closed one is broken."""

    def __init__(self, info: Info) -> None:
        self._info = info
        self._is_closed = False

    async def info(self) -> Info:
        return self._info

    async def warm_up(self) -> None:
        return

    async def check_health(self) -> None:
        if self._is_closed:
            raise EngineBroken("the engine is closed")

    async def close(self) -> None:
        self._is_closed = True
