"""Every request measured by its route, and a span of its trace."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.telemetry import catalog, traces
from deployments.telemetry.context import current_ids
from deployments.telemetry.recorder import Recorder

NO_ROUTE: Final = "none"
"""The route of requests that no route answers: labels come from the code, never from a client."""

_CLIENT_CLOSED: Final = 499
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ObservedMiddleware:
    """Counts and times requests, and continues the trace that a client's `traceparent` names."""

    def __init__(self, app: ASGIApp, *, recorder: Recorder) -> None:
        self._app = app
        self._record = recorder.record
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status, counted_as, began_s = _CLIENT_CLOSED, "", time.monotonic()

        async def watched(message: Message) -> None:
            nonlocal status, counted_as
            if message["type"] == "http.response.start":
                status = message["status"]
                counted_as = _route_of(scope)
                self._count_open(counted_as, 1)
            await send(message)

        parent = Headers(scope=scope).get("traceparent")
        with traces.span(method, parent=parent):
            try:
                await self._app(scope, receive, watched)
            finally:
                route = _route_of(scope)
                if counted_as:
                    self._count_open(counted_as, -1)
                traces.answered(method, route, status)
                traces.describe(**current_ids())
                self._record(catalog.HTTP_REQUESTS, 1, method=method, route=route, status=str(status))
                self._record(catalog.HTTP_SECONDS, time.monotonic() - began_s, method=method, route=route)

    def _count_open(self, route: str, change: int) -> None:
        self._open[route] += change
        self._record(catalog.HTTP_OPEN, self._open[route], route=route)


def _route_of(scope: Scope) -> str:
    """The path of the route that answers, with its parameters' names."""
    return getattr(scope.get("route"), "path", NO_ROUTE)
