"""Flow control for answers, from the client's connection back to the replica that makes them.

Ray Serve has none: the messages of an answer pass a queue in the replica and one in the proxy, both without a
bound, so a client that stops reading would have all of it kept in memory. Here the proxy acknowledges the bytes
that the connection has taken. The acknowledgements travel as messages of the request's own `receive`, and the
replica keeps at most `WINDOW_BYTES` on their way.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

OFFER_HEADER: Final = b"x-segue-flow-control"
"""By it the proxy offers acknowledgements. A client's own is removed."""

TAKEN: Final = "segue.response.taken"
"""The type of an acknowledgement; `bytes` counts from the answer's beginning."""

WINDOW_BYTES: Final = 2 * 1024 * 1024
ACKNOWLEDGED_BYTES: Final = 256 * 1024
"""Between two acknowledgements, at least: small answers need none."""

PIECE_BYTES: Final = 64 * 1024
STALLED_S: Final = 60.0
"""A connection that does not take a piece for so long is closed: under about 1 kB/s nobody listens to music."""

logger = logging.getLogger("segue.streams")


class AcknowledgingMiddleware:
    """The proxy's part, next to the server: acknowledges what the connection takes, and closes one that takes
    nothing for `stalled_s`. To the application that is a client that has gone; a client resumes by Range."""

    def __init__(self, app: ASGIApp, *, stalled_s: float = STALLED_S) -> None:
        self._app = app
        self._stalled_s = stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [header for header in scope["headers"] if header[0].lower() != OFFER_HEADER]
        delivery = _Delivery(receive, send, self._stalled_s)
        try:
            await self._app(
                {**scope, "headers": [*headers, (OFFER_HEADER, b"1")]}, delivery.receive, delivery.send
            )
        finally:
            delivery.close()


class _Delivery:
    """One answer on its way to the client."""

    def __init__(self, receive: Receive, send: Send, stalled_s: float) -> None:
        self._receive = receive
        self._send = send
        self._stalled_s = stalled_s
        self._request_is_complete = False
        self._is_cut = False
        self._taken = self._acknowledged = 0
        self._woken = asyncio.Event()
        self._receiving: asyncio.Future[Message] | None = None
        self._transport = _transport_of(send)
        _bound_silence(self._transport, stalled_s)

    async def receive(self) -> Message:
        """What comes from the client and, once its request is there, acknowledgements in between."""
        if not self._request_is_complete:
            message = await self._receive()
            self._request_is_complete = not message.get("more_body", False)
            return message
        while True:
            self._woken.clear()
            if self._is_cut:
                return {"type": "http.disconnect"}
            if self._receiving is None:
                self._receiving = asyncio.ensure_future(self._receive())
                self._receiving.add_done_callback(lambda _: self._woken.set())
            if self._receiving.done():
                received, self._receiving = self._receiving, None
                return received.result()
            if self._taken - self._acknowledged >= ACKNOWLEDGED_BYTES:
                self._acknowledged = self._taken
                return {"type": TAKEN, "bytes": self._taken}
            await self._woken.wait()

    async def send(self, message: Message) -> None:
        """Returns when the connection has taken the message, or does not want it any more."""
        for piece in _pieces(message):
            if self._is_cut:
                return
            try:
                async with asyncio.timeout(self._stalled_s):
                    await self._send(piece)
            except TimeoutError:
                logger.info("a connection took nothing for %g s and is closed", self._stalled_s)
                self._cut()
                return
            self._taken += len(piece.get("body", b""))
            if self._taken - self._acknowledged >= ACKNOWLEDGED_BYTES:
                self._woken.set()

    def close(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()

    def _cut(self) -> None:
        self._is_cut = True
        self._woken.set()
        if self._transport is not None:
            self._transport.abort()  # to close it would wait until the client has taken the rest


def _pieces(message: Message) -> Iterator[Message]:
    """The same body in messages of at most `PIECE_BYTES`; whatever else a message holds comes with the last."""
    body = message.get("body", b"")
    if len(body) <= PIECE_BYTES:
        yield message
        return
    last = (len(body) - 1) // PIECE_BYTES * PIECE_BYTES
    for start in range(0, last, PIECE_BYTES):
        yield {"type": message["type"], "body": body[start : start + PIECE_BYTES], "more_body": True}
    yield {**message, "body": body[last:]}


def _transport_of(send: Send) -> Any:
    """The connection below uvicorn's `send`, for which ASGI has no word; None with another server."""
    return getattr(getattr(send, "__self__", None), "transport", None)


def _bound_silence(transport: Any, most_s: float) -> None:
    """Have the kernel end a connection whose peer takes nothing for so long, also what is left of it after an
    answer's end. Where the system cannot, nothing changes."""
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is not None:
            with suppress(OSError):  # it may have been closed meanwhile
                connection.setsockopt(socket.IPPROTO_TCP, option, int(most_s * 1000))


class FlowControlMiddleware:
    """The replica's part: an answer waits while `window_bytes` of it are on their way. Behind a proxy that offers
    no acknowledgements it goes out as it is made."""

    def __init__(self, app: ASGIApp, *, window_bytes: int = WINDOW_BYTES) -> None:
        self._app = app
        self._window_bytes = window_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or all(name != OFFER_HEADER for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        headers = [header for header in scope["headers"] if header[0] != OFFER_HEADER]
        window = _Window(receive, send, self._window_bytes)
        try:
            await self._app({**scope, "headers": headers}, window.receive, window.send)
        except OSError:
            if not window.client_is_gone:
                raise
        finally:
            window.close()


class _Window:
    """One answer, of which a bounded part is on its way. The application and the sender of its answer may wait for
    messages at the same time; each is read once."""

    def __init__(self, receive: Receive, send: Send, window_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._window_bytes = window_bytes
        self._sent = self._taken = 0
        self._messages: deque[Message] = deque()
        self._receiving: asyncio.Future[Message] | None = None
        self.client_is_gone = False

    async def receive(self) -> Message:
        while not self._messages:
            if self.client_is_gone:
                return {"type": "http.disconnect"}
            await self._receive_one()
        return self._messages.popleft()

    async def send(self, message: Message) -> None:
        """Raises OSError where it would wait for a client that is gone, as servers of ASGI 2.4 do."""
        size = len(message.get("body", b""))
        # Up to that many bytes that were taken are never acknowledged, until more are.
        room_bytes = max(self._window_bytes - size, ACKNOWLEDGED_BYTES)
        while self._sent - self._taken > room_bytes:
            if self.client_is_gone:
                raise OSError("the client is gone")
            await self._receive_one()
        self._sent += size
        await self._send(message)

    def close(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()

    async def _receive_one(self) -> None:
        """Wait for the next message, together with whoever else does; the first to be there takes it in."""
        receiving = self._receiving
        if receiving is None:
            receiving = self._receiving = asyncio.ensure_future(self._receive())
        if not receiving.done():
            await asyncio.wait({receiving})
        if self._receiving is receiving:
            self._receiving = None
            self._take_in(receiving.result())

    def _take_in(self, message: Message) -> None:
        if message["type"] == TAKEN:
            self._taken = message["bytes"]
            return
        self.client_is_gone |= message["type"] == "http.disconnect"
        if not self.client_is_gone:
            self._messages.append(message)
