"""What Ray Serve's own proxy runs before a request leaves for a replica.

`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve_app.http.proxy:middlewares`, in the environment that Ray is started
in. Without it everything works, but the proxy answers a request that Serve cannot read with a bare 500 instead of a
problem, and keeps in memory all that a client has not read yet.
"""

from __future__ import annotations

import json
import uuid
from http import HTTPStatus
from typing import Final

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.http.flow_control import AcknowledgingMiddleware

IMPORT_PATH: Final = "serve_app.http.proxy:middlewares"
ENVIRONMENT: Final = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": IMPORT_PATH}

# Serve obeys these from anybody: a client could outlive its own hang-up, or switch off its deadline.
SERVER_CONTROL_HEADERS: Final = frozenset({b"x-request-disconnect-disabled", b"x-request-timeout-seconds"})
# Serve reads these as UTF-8, with underscores in the place of hyphens too.
_READ_AS_TEXT: Final = frozenset({b"x-request-id", b"x-session-id", b"serve-multiplexed-model-id"})


def middlewares() -> list[Middleware]:
    """Called by the proxy when it starts. The last one is outermost."""
    return [Middleware(AcknowledgingMiddleware), Middleware(ReadableHeaders)]


class ReadableHeaders:
    """Removes headers that control Serve, and refuses bytes that Serve cannot read as text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [
            (name, value) for name, value in scope["headers"] if name.lower() not in SERVER_CONTROL_HEADERS
        ]
        for name, value in headers:
            if name.lower().replace(b"_", b"-") in _READ_AS_TEXT and not _is_utf8(value):
                await _refuse(name.decode("latin-1"), send)
                return
        await self._app({**scope, "headers": headers}, receive, send)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _refuse(name: str, send: Send) -> None:
    request_id = uuid.uuid4().hex
    body = json.dumps(
        {
            "type": "urn:segue:problem:bad-request",
            "title": HTTPStatus.BAD_REQUEST.phrase,
            "status": HTTPStatus.BAD_REQUEST.value,
            "detail": f"The header {name} must be text in UTF-8.",
            "request_id": request_id,
        }
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": HTTPStatus.BAD_REQUEST.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
