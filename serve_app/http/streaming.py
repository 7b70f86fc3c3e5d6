"""Answers that stream: begun only when their first piece is there, so that a refusal can still be an error
answer, and broken off where the last one will not come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

from serve_app.http.errors import ClientGone

T = TypeVar("T")

LOOK_S = 1.0

logger = logging.getLogger("segue.streams")


class BrokenOff(Exception):
    """A stream that has begun cannot go on to its end."""


class WholeResponse(StreamingResponse):
    """A stream that is worth something only as a whole: where its content raises BrokenOff, the answer stays
    unfinished. The server then cuts the connection, and the client sees that something is missing."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except BrokenOff as error:
            logger.info("%s", error)
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()


async def unless_gone(request: Request, waiting: Awaitable[T]) -> T:
    """What comes of `waiting`, which is cancelled if the client hangs up before. Raises ClientGone then."""
    task = asyncio.ensure_future(waiting)
    try:
        while not (await asyncio.wait({task}, timeout=LOOK_S))[0]:
            if await request.is_disconnected():
                raise ClientGone
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def started(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same frames, the first of them already there. Raises what making it raises."""
    first = await anext(frames)

    async def rest() -> AsyncIterator[bytes]:
        async with aclosing(frames) as following:  # type: ignore[type-var]
            yield first
            async for frame in following:
                yield frame

    return rest()
