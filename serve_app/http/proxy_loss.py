"""Requests whose proxy has died: nobody waits for their answers any more.

Serve says so by raising Ray's error out of `receive`, where ASGI has a message for it. Left alone, every open
event stream of a killed proxy would be logged as an error of ours.
"""

from __future__ import annotations

from ray.exceptions import RayError
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ProxyLossMiddleware:
    """Turns a dead proxy into a client that has gone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def received() -> Message:
            try:
                return await receive()
            except RayError:
                return {"type": "http.disconnect"}

        await self._app(scope, received, send)
