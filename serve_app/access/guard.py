"""What stands before every route that needs a caller: the key is looked at before the body is read, nobody makes
more requests or holds more of them open than it may, and a body arrives in time.

Routes that need no caller (`/livez` above all) pass, so they answer however many others are held.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.settings import HttpSettings
from deployments.turns import Shares
from serve_app.access.authentication import Access
from serve_app.access.callers import Caller, current_caller, enter
from serve_app.http.errors import as_problem
from serve_app.http.problems import Problem, TooManyRequests, Unavailable, problem_response
from serve_app.http.sse import EventStreamResponse
from storage.repositories.request_rates import Allowance, RequestRates

CLOSE: Final = {"Connection": "close"}
"""The body is not read."""


class AccessMiddleware:
    """`routes` are all there are. `rates` None: nobody's requests are counted."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: Sequence[BaseRoute],
        access: Access,
        rates: RequestRates | None,
        settings: HttpSettings,
    ) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, APIRoute)]
        self._access = access
        self._rates = rates
        self._settings = settings
        self._open = Shares(settings.open_requests)
        self._streams: Counter[str] = Counter()
        self._needs_caller = {id(route): needs_caller(route) for route in self._routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route(scope) if scope["type"] == "http" else None
        if route is None or not self._needs_caller[id(route)]:
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._access.caller(Headers(scope=scope))
            enter(scope.setdefault("state", {}), caller)
            allowance = await self._allowance(caller)
            holder = caller.tenant if caller.tier is not None else _address(scope)
            is_stream = route.response_class is EventStreamResponse
            if is_stream:
                self._require_stream(caller)
            if not self._open.take(holder):
                raise self._refusal(holder)
        except Exception as error:
            problem = as_problem(error)
            if problem is None:
                raise
            problem.headers = {**CLOSE, **problem.headers}
            await problem_response(scope, problem)(scope, receive, send)
            return
        self._streams[caller.tenant] += is_stream
        try:
            await self._app(
                scope,
                _patient(receive, idle_s=self._settings.body_idle_s, longest_s=self._settings.body_s),
                send if allowance is None else _with_allowance(send, allowance),
            )
        finally:
            self._open.give_back(holder)
            self._streams[caller.tenant] -= is_stream
            if not self._streams[caller.tenant]:
                del self._streams[caller.tenant]

    def _route(self, scope: Scope) -> APIRoute | None:
        return next((route for route in self._routes if route.matches(scope)[0] is Match.FULL), None)

    async def _allowance(self, caller: Caller) -> Allowance | None:
        """None: the caller's requests are not counted. Raises TooManyRequests."""
        per_minute = caller.tier.requests_per_minute if caller.tier is not None else None
        if self._rates is None or per_minute is None:
            return None
        allowance = await self._rates.take(caller.tenant, per_minute)
        if not allowance.is_granted:
            raise TooManyRequests(
                f"At most {per_minute} requests a minute.",
                retry_after_s=allowance.retry_after_s,
                code="rate",
                headers=rate_headers(per_minute, 0, allowance.retry_after_s),
            )
        return allowance

    def _require_stream(self, caller: Caller) -> None:
        most = caller.tier.streams if caller.tier is not None else None
        if most is not None and self._streams[caller.tenant] >= most:
            raise TooManyRequests(
                f"{most} event streams are open, and at most {most} may be.",
                retry_after_s=5,
                code="streams",
                headers=rate_headers(most, 0, 5),
            )

    def _refusal(self, holder: str) -> Problem:
        if self._open.held(holder) * 2 > self._open.places:  # mostly its own
            held = self._open.held(holder)
            return TooManyRequests(
                f"{held} requests of yours are open.", retry_after_s=5, code="open-requests"
            )
        return Unavailable("The server has as many requests open as it can hold.", retry_after_s=5)


def needs_caller(route: APIRoute) -> bool:
    """Whether a route asks who calls."""
    return _asks(route.dependant)


def _asks(dependant: Dependant) -> bool:
    return dependant.call is current_caller or any(_asks(inner) for inner in dependant.dependencies)


def rate_headers(limit: float, remaining: float, reset_s: float) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers-06 names them; most clients and gateways know these."""
    return {
        "RateLimit-Limit": str(math.floor(limit)),
        "RateLimit-Remaining": str(max(0, math.floor(remaining))),
        "RateLimit-Reset": str(max(0, math.ceil(reset_s))),
    }


def _with_allowance(send: Send, allowance: Allowance) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            told = rate_headers(allowance.limit, allowance.remaining, allowance.retry_after_s)
            for name, value in told.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def _patient(receive: Receive, *, idle_s: float, longest_s: float) -> Receive:
    """Waits for the parts of a body for so long, and no longer; for the end of the connection as long as it
    takes."""
    until_s = time.monotonic() + longest_s
    is_complete = False

    async def received() -> Message:
        nonlocal is_complete
        if is_complete:
            return await receive()
        pause_s = max(0.0, min(idle_s, until_s - time.monotonic()))
        try:
            async with asyncio.timeout(pause_s):
                message = await receive()
        except TimeoutError as error:
            # FastAPI turns what is raised under its body reader into a plain 400, except its own HTTPException.
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT,
                detail="The body did not arrive in time.",
                headers={"Connection": "close"},
            ) from error
        is_complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    return received


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
