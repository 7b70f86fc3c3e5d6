"""What every request passes through: its id and access log line, host check, headers, body limit.

Pure ASGI: messages pass as they come, so streams are never held back. From the outside in:
`RequestContextMiddleware`, `ObservedMiddleware`, `SecurityHeadersMiddleware`, (CORS), `HostCheckMiddleware`,
`CrossSiteMiddleware`, `HeadMiddleware`, (gzip), `BodyLimitMiddleware`.
Starlette runs the one added last first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.telemetry.context import bind, current_ids, release
from serve_app.http.problems import BadRequest, Forbidden, MisdirectedHost, PayloadTooLarge, problem_response
from serve_app.http.proxy import SERVER_CONTROL_HEADERS

REQUEST_ID_HEADER: Final = "x-request-id"
MAX_USER_AGENT_CHARS: Final = 200

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
_BODY_LIMIT_KEY: Final = "segue.body_limit_lifted"

_access_log = logging.getLogger("segue.access")


def current_request_id() -> str | None:
    """The id of the request being served in this context, for log lines; None outside a request."""
    return current_ids().get("request_id")


class RequestContextMiddleware:
    """Gives each request an id and writes one JSON line to `segue.access` when its answer ends.

    A client's `x-request-id` is kept if it is harmless, else replaced; the answer repeats it unless `echo` is
    off (Ray Serve's proxy adds the header itself, and twice is once too often). Headers by which a client
    could command the server in front of the application are dropped.
    """

    def __init__(self, app: ASGIApp, *, echo: bool = True) -> None:
        self._app = app
        self._echo = echo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        scope["headers"] = [header for header in scope["headers"] if header[0] not in SERVER_CONTROL_HEADERS]
        scope.setdefault("state", {})["request_id"] = request_id
        token = bind(request_id=request_id)
        exchange = _Exchange(scope, receive, send, echoed_id=request_id if self._echo else None)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            exchange.cut_short = not exchange.complete
            raise
        finally:
            _access_log.info("%s", json.dumps(exchange.entry(request_id)))
            release(token)


class _Exchange:
    """One request and its answer as they pass by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, echoed_id: str | None) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._echoed_id = echoed_id
        self._began_s = time.perf_counter()
        self._status: int | None = None
        self._bytes_out = 0
        self.complete = False
        self.cut_short = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.complete:
            self.cut_short = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._echoed_id is not None:
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = self._echoed_id
        try:
            await self._send(message)
        except OSError:  # how servers of ASGI 2.4 tell that the client is gone
            self.cut_short = True
            raise
        if message["type"] == "http.response.body":
            self._bytes_out += len(message.get("body", b"")) if self._scope["method"] != "HEAD" else 0
            self.complete = not message.get("more_body", False)

    def entry(self, request_id: str) -> dict[str, Any]:
        """`disconnected`: the client, or the server in front for it, gave up before the answer's end.

        `complete` is false then, and where the application broke an answer off.
        """
        client = self._scope.get("client")
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": request_id,
            "method": self._scope["method"],
            "path": self._scope["path"],
            **{name: value for name, value in current_ids().items() if name != "request_id"},
            "status": self._status or (499 if self.cut_short else 500),
            "duration_ms": round((time.perf_counter() - self._began_s) * 1000, 1),
            "bytes_out": self._bytes_out,
            "client": client[0] if client else None,
            "user_agent": Headers(scope=self._scope).get("user-agent", "")[:MAX_USER_AGENT_CHARS],
            "complete": self.complete,
            "disconnected": self.cut_short,
        }


class HostCheckMiddleware:
    """Answers only requests addressed to one of `allowed_hosts`; `*` is any.

    A web page may point its own name at 127.0.0.1 (DNS rebinding) and so talk to a server that its user runs;
    the Host header still carries the page's name. Names are without port; IPv6 with or without brackets.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(host.strip("[]").lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and "*" not in self._allowed:
            hosts = Headers(scope=scope).getlist("host")
            name = _host_name(hosts[0]) if len(hosts) == 1 else None
            if name not in self._allowed:
                problem = (
                    BadRequest("The request needs one valid Host header.", code="bad-host")
                    if name is None
                    else MisdirectedHost("This server does not answer for that host.")
                )
                await problem_response(scope, problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _host_name(header: str) -> str | None:
    match = _HOST.fullmatch(header)
    return (match[1] or match[2]).lower() if match else None


class CrossSiteMiddleware:
    """Refuses what a page of another site asks for, unless that is only to read (403, `cross-site`).

    A browser sends a form or a `no-cors` fetch anywhere, and a server without keys, or behind a login of its
    network, would do the work. Browsers tell where a request comes from: `Sec-Fetch-Site`, which a page cannot
    forge, or at least `Origin`. Pages of this server itself and of `allowed_origins` may do everything, and so may
    clients that send neither header, which are no browsers. Reading needs no check here: the browser keeps the
    answer from the page, unless CORS allows it.
    """

    SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

    def __init__(self, app: ASGIApp, *, allowed_origins: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in self.SAFE_METHODS and self._is_foreign(scope):
            problem = Forbidden(
                "A page of another site may not ask for this. To let it, name its origin in http.cors_origins.",
                code="cross-site",
                headers={"Connection": "close"},  # the body is not read
            )
            await problem_response(scope, problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and origin.lower() in self._allowed:
            return False
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site not in ("same-origin", "none")
        if origin is None:
            return False
        # Without the scheme: a proxy in front may speak TLS.
        return origin.lower().partition("://")[2] != headers.get("host", "").lower()


class HeadMiddleware:
    """Answers HEAD wherever GET is answered: with GET's status and headers, and no body.

    `routes` are all there are; those that know HEAD themselves answer it.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._know_head(scope):
            await self._app(scope, receive, send)
            return
        done = False

        async def without_body(message: Message) -> None:
            nonlocal done
            if done:
                raise OSError("the answer to HEAD is complete")  # as servers end a stream that nobody reads
            if message["type"] == "http.response.body":
                done = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, without_body)
        finally:
            scope["route"] = as_get.get("route")  # for what measures requests by it

    def _know_head(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._routes)


class SecurityHeadersMiddleware:
    """Tells browsers not to guess types, not to frame answers, not to pass addresses on."""

    HEADERS: Final = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class BodyLimitMiddleware:
    """Bounds the bodies that FastAPI reads whole. A route that reads its body in pieces and counts for itself
    calls `lift_body_limit` first (`receive_upload` does)."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received_bytes = 0

        async def counted() -> Message:
            nonlocal received_bytes
            if not scope.get(_BODY_LIMIT_KEY) and declared_length(Headers(scope=scope)) > self._max_bytes:
                raise _too_large(self._max_bytes)
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if not scope.get(_BODY_LIMIT_KEY) and received_bytes > self._max_bytes:
                raise _too_large(self._max_bytes)
            return message

        await self._app(scope, counted, send)


def lift_body_limit(scope: Scope) -> None:
    """Let this request's body be larger than `BodyLimitMiddleware` allows."""
    scope[_BODY_LIMIT_KEY] = True


def declared_length(headers: Headers) -> int:
    """The Content-Length in bytes; 0 where there is none, or none that can be read."""
    text = headers.get("content-length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def _too_large(max_bytes: int) -> HTTPException:
    """FastAPI turns what is raised under its body reader into a plain 400, except its own HTTPException."""
    problem = PayloadTooLarge(max_bytes, what="The body")
    return HTTPException(problem.status, detail=problem.detail, headers={"Connection": "close"})
