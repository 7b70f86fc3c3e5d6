from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from ray.exceptions import RayActorError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message

from serve_app.http.proxy_loss import ProxyLossMiddleware


async def ask(app: ASGIApp, *messages: Message) -> list[Message]:
    """What is answered to a request of whose proxy these messages come, and then its death."""
    coming, answered = list(messages), list[Message]()

    async def receive() -> Message:
        if coming:
            return coming.pop(0)
        await asyncio.sleep(0.5)
        raise RayActorError()

    async def send(message: Message) -> None:
        answered.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return answered


async def test_a_stream_for_a_dead_proxy_ends_as_if_the_client_had_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api, ended = FastAPI(), asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b": heartbeat\n\n"
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    @api.post("/")
    async def stream() -> StreamingResponse:
        return StreamingResponse(events())

    answered = await ask(ProxyLossMiddleware(api), {"type": "http.request", "body": b"", "more_body": False})
    assert answered[0]["status"] == 200
    assert ended.is_set()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_half_a_body_of_a_dead_proxy_is_a_client_that_hung_up() -> None:
    api = FastAPI()
    told: list[type[Exception]] = []

    @api.post("/")
    async def upload(request: Request) -> None:
        try:
            await request.body()
        except ClientDisconnect as gone:
            told.append(type(gone))

    await ask(ProxyLossMiddleware(api), {"type": "http.request", "body": b"half", "more_body": True})
    assert told == [ClientDisconnect]
