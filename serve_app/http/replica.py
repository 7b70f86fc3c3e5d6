"""What a replica of the ingress adds to the API: its name in every answer, and a count of what it answers."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REPLICA_HEADER: Final = "x-segue-replica"


class OpenRequests:
    """The requests that are being answered, open event streams among them."""

    def __init__(self) -> None:
        self.count = 0


class ReplicaMiddleware:
    """Names the replica as Serve's own logs and `serve status` do, so that an answer leads to its log."""

    def __init__(self, app: ASGIApp, *, replica: str, open_requests: OpenRequests) -> None:
        self._app = app
        self._replica = replica
        self._open = open_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_name(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REPLICA_HEADER] = self._replica
            await send(message)

        self._open.count += 1
        try:
            await self._app(scope, receive, with_name)
        finally:
            self._open.count -= 1
