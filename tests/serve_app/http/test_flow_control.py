"""Answers through two queues without bounds, as Ray Serve has them between a replica and a client's connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.http.flow_control import (
    ACKNOWLEDGED_BYTES,
    OFFER_HEADER,
    PIECE_BYTES,
    TAKEN,
    AcknowledgingMiddleware,
    FlowControlMiddleware,
)
from tests.support.harness import listening
from tests.support.patience import until

KIB = 1024
WINDOW_BYTES = 512 * KIB


class Link:
    """What Serve has between the proxy and a replica. `held_bytes` is what is on its way now."""

    def __init__(self, replica: ASGIApp) -> None:
        self._replica = replica
        self.held_bytes = 0
        self.most_held_bytes = 0
        self.ended = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming, outgoing = asyncio.Queue[Message](), asyncio.Queue[Message | None]()

        async def pull() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                incoming.put_nowait(message)
            incoming.put_nowait(message)

        async def enqueue(message: Message) -> None:
            self.held_bytes += len(message.get("body", b""))
            self.most_held_bytes = max(self.most_held_bytes, self.held_bytes)
            outgoing.put_nowait(message)

        async def work() -> None:
            try:
                await self._replica(scope, incoming.get, enqueue)
            finally:
                self.ended += 1
                outgoing.put_nowait(None)

        tasks = [asyncio.create_task(pull()), asyncio.create_task(work())]
        try:
            while (message := await outgoing.get()) is not None:
                await send(message)
                self.held_bytes -= len(message.get("body", b""))
            await tasks[1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Transport:
    def __init__(self) -> None:
        self.is_aborted = asyncio.Event()

    def abort(self) -> None:
        self.is_aborted.set()

    def get_extra_info(self, name: str) -> None:
        assert name == "socket"


class Connection:
    """A client that takes `most_bytes` of an answer, and then nothing until it hangs up. `messages` are its
    request's."""

    def __init__(self, most_bytes: int | None = None, messages: tuple[Message, ...] = ()) -> None:
        self._messages = list(messages) or [{"type": "http.request", "body": b""}]
        self._most_bytes = most_bytes
        self.transport = Transport()
        self.pieces: list[bytes] = []
        self.is_stalled = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        await self.transport.is_aborted.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self._most_bytes is not None and len(self.body) >= self._most_bytes:
            self.is_stalled.set()
            await self.transport.is_aborted.wait()
        if message["type"] == "http.response.body":
            self.pieces.append(message.get("body", b""))

    async def ask(self, link: Link, stalled_s: float = 60.0) -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(OFFER_HEADER, b"forged")]}
        await AcknowledgingMiddleware(link, stalled_s=stalled_s)(scope, self.receive, self.send)


def download(sizes: list[int]) -> ASGIApp:
    """An application that answers with bodies of these sizes, each of another byte."""

    async def pieces() -> AsyncIterator[bytes]:
        for number, size in enumerate(sizes):
            yield bytes([number % 256]) * size

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert all(name != OFFER_HEADER for name, _ in scope["headers"])
        await StreamingResponse(pieces())(scope, receive, send)

    return app


def link_to(app: ASGIApp) -> Link:
    return Link(FlowControlMiddleware(app, window_bytes=WINDOW_BYTES))


@given(st.lists(st.sampled_from([0, 1, 1000, 64 * KIB, 300 * KIB, 700 * KIB]), max_size=5))
async def test_all_of_an_answer_arrives_and_a_window_of_it_is_on_its_way(sizes: list[int]) -> None:
    connection, link = Connection(), link_to(download(sizes))
    await connection.ask(link)
    assert connection.body == b"".join(bytes([number % 256]) * size for number, size in enumerate(sizes))
    most = max(sizes, default=0)  # of which one may be partly taken
    assert link.most_held_bytes <= max(WINDOW_BYTES, most + ACKNOWLEDGED_BYTES) + most
    assert max(map(len, connection.pieces)) <= PIECE_BYTES


async def test_a_client_that_stops_reading_holds_a_window_and_is_cut_off() -> None:
    connection, link = Connection(300 * KIB), link_to(download([256 * KIB] * 100))
    await connection.ask(link, stalled_s=0.1)
    assert connection.transport.is_aborted.is_set()
    assert link.most_held_bytes <= WINDOW_BYTES + 256 * KIB
    assert link.ended == 1


async def test_a_client_that_hangs_up_while_the_window_is_full_ends_the_work() -> None:
    connection, link = Connection(300 * KIB), link_to(download([256 * KIB] * 100))
    asking = asyncio.create_task(connection.ask(link))
    await connection.is_stalled.wait()
    connection.transport.abort()
    await asking
    assert link.ended == 1


async def test_the_requests_own_messages_arrive_as_they_came() -> None:
    sent = (
        {"type": "http.request", "body": b"first", "more_body": True},
        {"type": "http.request", "body": b"second", "more_body": False},
    )
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive()])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):  # as Starlette's is_disconnected does
                await receive()
        await StreamingResponse(_zeros())(scope, receive, send)

    async def _zeros() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(ACKNOWLEDGED_BYTES)

    connection = Connection(messages=sent)
    await connection.ask(link_to(app))
    assert seen == list(sent)
    assert len(connection.body) == 40 * ACKNOWLEDGED_BYTES


async def test_a_small_answer_needs_no_acknowledgement() -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def noted() -> Message:
            received.append(await receive())
            return received[-1]

        await noted()
        waiting = asyncio.create_task(noted())
        await Response(bytes(ACKNOWLEDGED_BYTES - 1))(scope, receive, send)
        await asyncio.sleep(0.05)
        waiting.cancel()

    await Connection().ask(Link(app))
    assert [message["type"] for message in received] == ["http.request"]
    assert TAKEN not in {message["type"] for message in received}


async def test_twenty_clients_of_a_real_server_that_stop_reading_hold_windows_and_are_cut_off() -> None:
    """What is cut is the connection itself: to close it would wait until the client has taken the rest."""
    link = link_to(download([256 * KIB] * 400))  # 100 MB for each
    readers = 20
    async with listening(AcknowledgingMiddleware(link, stalled_s=1.0)) as http:  # type: ignore[arg-type]
        connections = [
            await asyncio.open_connection(http.base_url.host, http.base_url.port) for _ in range(readers)
        ]
        for _, writer in connections:
            writer.write(b"GET / HTTP/1.1\r\nHost: segue\r\n\r\n")
        for reader, _ in connections:
            await reader.readuntil(b"\r\n\r\n")  # and no more than fits into its buffer
        await until(lambda: link.ended == readers)
        assert link.most_held_bytes <= readers * (WINDOW_BYTES + 256 * KIB)
        for reader, writer in connections:
            with suppress(ConnectionError):
                assert len(await reader.read(-1)) < 400 * 256 * KIB
            writer.close()


async def test_without_an_offer_the_answer_goes_out_as_it_is_made() -> None:
    """Behind a proxy without the middleware nobody would ever acknowledge."""
    connection, link = Connection(), link_to(download([WINDOW_BYTES] * 3))
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await link(scope, connection.receive, connection.send)
    assert len(connection.body) == 3 * WINDOW_BYTES
