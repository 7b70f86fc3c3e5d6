"""A proxy before an S3 server that loses, changes or makes up what a test wants."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Fault(Enum):
    REQUEST_LOST = auto()
    REPLY_LOST = auto()
    """The server has done it; the connection breaks before the client hears so."""
    REPLY_CUT = auto()
    """All of the headers come, and half of the body."""
    CONDITIONS_IGNORED = auto()
    """The server never sees If-Match and If-None-Match."""


@dataclass(frozen=True)
class Answer:
    """Made up by the proxy; with `after=True` once the server has done what was asked."""

    status: int
    code: str
    after: bool = False


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]

    @property
    def is_conditional(self) -> bool:
        return self.method == "PUT" and bool(self.headers.keys() & {"if-match", "if-none-match"})


Treatment = Fault | Answer | None
Treat = Callable[[Request], Treatment]


@dataclass
class Proxy:
    """`treat` decides over each request, and may change its path and headers; None lets it pass."""

    upstream: str
    treat: Treat = lambda _: None
    requests: list[Request] = field(default_factory=list)
    endpoint_url: str = ""

    def next_conditional_puts(self, *treatments: Treatment) -> None:
        """Treat as many conditional puts as are given here, one after another, then let all pass."""
        planned = iter(treatments)
        self.treat = lambda request: next(planned, None) if request.is_conditional else None

    @property
    def conditional_puts(self) -> int:
        return sum(request.is_conditional for request in self.requests)


@contextmanager
def running_proxy(upstream: str, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    proxy = Proxy(upstream)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    proxy.endpoint_url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def hang_up(self) -> None:
        """On clients that keep their connection for another request."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    proxy: Proxy

    def _serve(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the client gave up in the middle
            self.close_connection = True
            return
        request = Request(
            self.command, self.path, {name.lower(): text for name, text in self.headers.items()}
        )
        self.proxy.requests.append(request)
        treatment = self.proxy.treat(request)
        if treatment is Fault.CONDITIONS_IGNORED:
            request.headers = {
                name: text
                for name, text in request.headers.items()
                if name not in ("if-match", "if-none-match")
            }
        if treatment is Fault.REQUEST_LOST:
            self.close_connection = True
        elif isinstance(treatment, Answer) and not treatment.after:
            self._make_up(treatment)
        else:
            self._forward(request, body, treatment)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815  # the base class has these names

    def _forward(self, request: Request, body: bytes, treatment: Treatment) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=30)
        try:
            headers = {name: text for name, text in request.headers.items() if name != "expect"}
            connection.request(request.method, request.path, body, headers)
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        if treatment is Fault.REPLY_LOST:
            self.close_connection = True
        elif isinstance(treatment, Answer):
            self._make_up(treatment)
        else:
            self._reply(reply, content, is_cut=treatment is Fault.REPLY_CUT)

    def _reply(self, reply: Any, content: bytes, *, is_cut: bool) -> None:
        length = reply.getheader("content-length") if self.command == "HEAD" else str(len(content))
        self.send_response(reply.status)
        for name, text in reply.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, text)
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if is_cut else content)
        self.close_connection = is_cut or self.close_connection

    def _make_up(self, answer: Answer) -> None:
        content = f"<Error><Code>{answer.code}</Code><Message>made up</Message></Error>".encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Silence."""
