"""Streams whose first piece is made before the answer begins, so that a refusal can still be an error answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing


async def started(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same frames, the first of them already there. Raises what making it raises."""
    first = await anext(frames)

    async def rest() -> AsyncIterator[bytes]:
        async with aclosing(frames) as following:  # type: ignore[type-var]
            yield first
            async for frame in following:
                yield frame

    return rest()
