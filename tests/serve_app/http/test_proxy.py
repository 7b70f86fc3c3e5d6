"""What the proxy refuses or removes before Serve reads a request's headers."""

from __future__ import annotations

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.http.proxy import middlewares
from tests.support.harness import problem

AS_TEXT = ("X-Request-ID", "X-Session-ID", "serve_multiplexed_model_id", "Serve-Multiplexed-Model-Id")


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    names = b",".join(sorted(name.lower() for name, _ in scope["headers"]))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": names})


@pytest.fixture
def client() -> httpx.AsyncClient:
    app: ASGIApp = _echo
    for middleware in middlewares():  # as Serve applies them
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://segue")


@pytest.mark.parametrize("name", AS_TEXT)
async def test_a_header_that_is_no_text_is_the_clients_error(client: httpx.AsyncClient, name: str) -> None:
    told = problem(await client.get("/livez", headers=[(name.encode(), b"\xe9\xff")]), 400)
    assert name.lower() in told["detail"].lower()
    accepted = await client.get("/livez", headers=[(name.encode(), "\u00e9".encode())])
    assert accepted.status_code == 200


async def test_other_headers_may_hold_any_bytes(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez", headers=[(b"x-note", b"\xe9\xff")])).status_code == 200


async def test_headers_that_control_serve_do_not_reach_it(client: httpx.AsyncClient) -> None:
    asked = {"X-Request-Timeout-Seconds": "1e9", "X-Request-Disconnect-Disabled": "1", "X-Note": "kept"}
    names = (await client.get("/livez", headers=asked)).text.split(",")
    assert "x-note" in names
    assert not {name.lower() for name in asked} & set(names) - {"x-note"}
