"""Work inside a request, for as long as somebody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from serve_app.http.errors import ClientGone
from serve_app.http.problems import GatewayTimeout

T = TypeVar("T")


async def attended(request: Request, work: Coroutine[Any, Any, T], deadline_s: float) -> T:
    """What `work` returns. It is cancelled when the client hangs up or `deadline_s` is over. The request's body has
    to be read before. Raises ClientGone, GatewayTimeout, and what `work` raises."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if leaving.done():
            raise ClientGone("in the middle of its work")
        raise GatewayTimeout(f"this took longer than {deadline_s:g} s, and was given up")
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
