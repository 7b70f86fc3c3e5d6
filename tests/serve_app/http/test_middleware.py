"""Request ids, access log lines, host check and body limit, on streams too."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Body, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp

from serve_app.http.errors import install_error_handlers
from serve_app.http.middleware import (
    BodyLimitMiddleware,
    HostCheckMiddleware,
    RequestContextMiddleware,
    SecurityHeadersMiddleware,
    current_request_id,
    lift_body_limit,
)


def make_app(*middleware: tuple[type, dict[str, Any]]) -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)
    for kind, options in middleware:
        app.add_middleware(kind, **options)

    @app.get("/id")
    async def which(request: Request) -> dict[str, Any]:
        return {
            "state": request.state.request_id,
            "context": current_request_id(),
            "headers": sorted(request.headers),
        }

    @app.post("/json")
    async def echo(body: dict[str, Any] = Body()) -> int:  # noqa: B008 - FastAPI's way
        return len(body)

    @app.post("/pieces")
    async def pieces(request: Request) -> int:
        lift_body_limit(request.scope)
        return sum([len(piece) async for piece in request.stream()])

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.sleep(60)

        return StreamingResponse(chunks())

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    return app


def client(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def scope_for(path: str, headers: list[tuple[bytes, bytes]] | None = None) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": headers or [],
        "client": ("192.0.2.1", 5),
    }


@pytest.fixture
def access_lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, "segue.access")
    return lambda: [json.loads(r.getMessage()) for r in caplog.records if r.name == "segue.access"]


async def test_a_new_id_is_seen_by_route_context_and_client() -> None:
    async with client(make_app((RequestContextMiddleware, {}))) as http:
        first, second = await http.get("/id"), await http.get("/id")
    body = first.json()
    assert first.headers["x-request-id"] == body["state"] == body["context"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert current_request_id() is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("abc-123_X.y:z", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("two words", False),
        ('quote"d', False),
        ("snöw", False),
    ],
)
async def test_a_clients_id_is_kept_only_if_harmless(sent: str, kept: bool) -> None:
    async with client(make_app((RequestContextMiddleware, {}))) as http:
        response = await http.get("/id", headers={"x-request-id": sent.encode()})
    assert (response.headers["x-request-id"] == sent) is kept
    assert response.headers["x-request-id"] == response.json()["state"]


async def test_the_echo_can_be_left_to_the_proxy_in_front() -> None:
    async with client(make_app((RequestContextMiddleware, {"echo": False}))) as http:
        response = await http.get("/id", headers={"x-request-id": "r-1"})
    assert "x-request-id" not in response.headers
    assert response.json()["state"] == "r-1"


async def test_a_client_cannot_command_the_server_in_front() -> None:
    headers = {"X-Request-Disconnect-Disabled": "?1", "X-Request-Timeout-Seconds": "0", "X-Other": "1"}
    async with client(make_app((RequestContextMiddleware, {}))) as http:
        seen = (await http.get("/id", headers=headers)).json()["headers"]
    assert "x-other" in seen
    assert not {"x-request-disconnect-disabled", "x-request-timeout-seconds"} & set(seen)


async def test_one_access_line_per_request(access_lines: Any) -> None:
    async with client(make_app((RequestContextMiddleware, {}))) as http:
        response = await http.get(
            "/id", headers={"user-agent": "studio\t1" + "x" * 500}, params={"token": "secret"}
        )
        await http.get("/nowhere%0Aforged")
        await http.get("/broken")
    ok, missing, broken = access_lines()
    assert ok["request_id"] == response.headers["x-request-id"]
    assert (ok["method"], ok["path"], ok["status"]) == ("GET", "/id", 200)
    assert ok["bytes_out"] == len(response.content)
    assert ok["duration_ms"] >= 0
    assert ok["client"] == "127.0.0.1"
    assert ok["user_agent"].startswith("studio")
    assert len(ok["user_agent"]) <= 200
    assert (ok["complete"], ok["disconnected"]) == (True, False)
    assert "secret" not in json.dumps(ok)
    assert (missing["path"], missing["status"]) == ("/nowhere\nforged", 404)
    assert broken["status"] == 500


async def test_a_stream_is_passed_on_piece_by_piece_and_logged_when_the_client_hangs_up(
    access_lines: Any,
) -> None:
    app = make_app(
        (BodyLimitMiddleware, {"max_bytes": 10}),
        (SecurityHeadersMiddleware, {}),
        (RequestContextMiddleware, {}),
    )
    got_first = asyncio.Event()
    requested = False

    async def receive() -> dict[str, Any]:
        nonlocal requested
        if not requested:
            requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await got_first.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body") == b"first":
            assert access_lines() == []
            got_first.set()

    await asyncio.wait_for(app(scope_for("/stream"), receive, send), timeout=10)
    (line,) = access_lines()
    assert (line["status"], line["bytes_out"]) == (200, 5)
    assert (line["complete"], line["disconnected"]) == (False, True)
    assert line["client"] == "192.0.2.1"


async def test_a_broken_stream_is_not_blamed_on_the_client(access_lines: Any) -> None:
    app = make_app((RequestContextMiddleware, {}))

    @app.get("/cut")
    async def cut() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            raise OSError("disk")

        return StreamingResponse(chunks())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        with pytest.raises(RuntimeError, match="response already started"):  # which cuts the connection
            await http.get("/cut")
    (line,) = access_lines()
    assert (line["status"], line["complete"], line["disconnected"]) == (200, False, False)


async def test_a_send_that_fails_is_a_disconnect(access_lines: Any) -> None:
    app = make_app((RequestContextMiddleware, {}))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message.get("body"):
            raise BrokenPipeError

    scope = scope_for("/stream")
    scope["asgi"]["spec_version"] = "2.4"
    await app(scope, receive, send)
    (line,) = access_lines()
    assert (line["complete"], line["disconnected"]) == (False, True)


async def test_a_cancelled_request_is_logged_as_disconnected(access_lines: Any) -> None:
    app = make_app((RequestContextMiddleware, {}))
    got_first = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Any) -> None:
        if message.get("body"):
            got_first.set()

    task = asyncio.create_task(app(scope_for("/stream"), receive, send))
    await asyncio.wait_for(got_first.wait(), timeout=10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (line,) = access_lines()
    assert (line["status"], line["disconnected"]) == (200, True)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("segue.example", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("localhost:8000@evil.example", 400),
        ("localhost:99999999", 400),
        ("", 400),
        ("a b", 400),
    ],
)
async def test_only_known_hosts_are_answered(host: str, status: int) -> None:
    hosts = ("localhost", "127.0.0.1", "::1", "Segue.Example")
    async with client(
        make_app((RequestContextMiddleware, {}), (HostCheckMiddleware, {"allowed_hosts": hosts}))
    ) as http:
        response = await http.get("/nowhere" if status != 200 else "/id", headers={"host": host})
    if status != 200:
        assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == status


@pytest.mark.parametrize(
    "headers", [[], [(b"host", b"localhost"), (b"host", b"localhost")]], ids=["none", "two"]
)
async def test_a_request_needs_exactly_one_host(headers: list[tuple[bytes, bytes]]) -> None:
    app = make_app((HostCheckMiddleware, {"allowed_hosts": ["localhost"]}))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_for("/id", headers), receive, send)
    assert sent[0]["status"] == 400


async def test_a_star_allows_any_host() -> None:
    async with client(
        make_app((RequestContextMiddleware, {}), (HostCheckMiddleware, {"allowed_hosts": ["*"]}))
    ) as http:
        assert (await http.get("/id", headers={"host": "any.example"})).status_code == 200


async def test_browsers_are_told_not_to_guess() -> None:
    async with client(make_app((SecurityHeadersMiddleware, {}))) as http:
        assert (await http.get("/nowhere")).headers["x-content-type-options"] == "nosniff"


async def chunked(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 16):
        yield data[start : start + 16]


@pytest.mark.parametrize("streamed", [False, True], ids=["content-length", "chunked"])
async def test_a_body_over_the_limit_is_a_413_however_it_is_sent(streamed: bool) -> None:
    fits, too_long = b'{"a": "' + b"x" * 80 + b'"}', b'{"a": "' + b"x" * 200 + b'"}'
    json_type = {"content-type": "application/json"}
    async with client(make_app((BodyLimitMiddleware, {"max_bytes": 100}))) as http:
        good = await http.post("/json", content=chunked(fits) if streamed else fits, headers=json_type)
        bad = await http.post("/json", content=chunked(too_long) if streamed else too_long, headers=json_type)
    assert good.status_code == 200
    assert bad.status_code == 413
    assert bad.json()["type"] == "urn:segue:problem:content-too-large"
    assert "100 bytes" in bad.json()["detail"]
    assert bad.headers["connection"] == "close"


async def test_a_route_that_counts_for_itself_is_not_limited() -> None:
    async with client(make_app((BodyLimitMiddleware, {"max_bytes": 100}))) as http:
        response = await http.post("/pieces", content=b"x" * 5000)
    assert response.json() == 5000
