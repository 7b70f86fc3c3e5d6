"""A hub on loopback with Hugging Face's layout of addresses and headers, whose faults are switched on by a test."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_RESOLVE = re.compile(r"/(?P<repository>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_COMMIT = "c0ffee" * 6 + "c0ff"


class Fault(Enum):
    """What happens to requests for a file, while it is set. `CUT` and `RESET` end in the middle of the content."""

    UNAUTHORIZED = 401
    FORBIDDEN = 403
    GATED = "gated"
    MISSING_FILE = 404
    LIMITED = 429
    UNAVAILABLE = 503
    PORTAL = "portal"
    CUT = "cut"
    RESET = "reset"
    SILENT = "silent"
    DAMAGED = "damaged"


@dataclass
class Hub:
    """`times` None: a fault stays. Each GET and HEAD is kept in `requests` as (method, repository/file, Range)."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    fault: Fault | None = None
    times: int | None = None
    only: str = ""
    port: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    pause_s: float = 0.0

    def fail(self, fault: Fault | None, times: int | None = None, only: str = "") -> None:
        """The next requests (`times` of them) for files whose name ends with `only` fail."""
        self.fault, self.times, self.only = fault, times, only

    def fault_for(self, method: str, file: str) -> Fault | None:
        """Of one request; content faults leave HEAD alone."""
        fault = self.fault
        in_content = fault in {Fault.CUT, Fault.RESET, Fault.DAMAGED}
        if fault is None or not file.endswith(self.only) or (in_content and method == "HEAD"):
            return None
        if self.times is not None:
            if self.times == 0:
                return None
            self.times -= 1
        return fault

    def downloads(self, file: str) -> list[str | None]:
        """The Range headers of all GETs of a file."""
        return [given for method, name, given in self.requests if method == "GET" and name.endswith(file)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", hub.port), _Handler)
        self.hub = hub
        hub.port = self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that hang up are part of the tests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        assert isinstance(self.server, Server)
        hub = self.server.hub
        match = _RESOLVE.fullmatch(self.path)
        if match is None:
            self._refuse(404, "")
            return
        repository, file = match["repository"], match["file"]
        hub.requests.append((self.command, f"{repository}/{file}", self.headers.get("Range")))
        fault = hub.fault_for(self.command, file)
        match fault:
            case Fault.SILENT:
                hub.released.wait(60)
                self.close_connection = True
                return
            case Fault.PORTAL:
                self._send(200, b"<html>Sign in</html>", {"Content-Type": "text/html"})
                return
            case Fault.GATED:
                self._refuse(403, "GatedRepo")
                return
            case Fault.MISSING_FILE:
                self._refuse(404, "EntryNotFound")
                return
            case Fault.LIMITED:
                self._refuse(429, "", {"Retry-After": "7"})
                return
            case Fault.UNAUTHORIZED | Fault.FORBIDDEN | Fault.UNAVAILABLE:
                self._refuse(int(fault.value), "")
                return
        files = hub.repositories.get(repository)
        if files is None:
            self._refuse(401, "RepoNotFound")
        elif file not in files:
            self._refuse(404, "EntryNotFound")
        else:
            self._content(files[file], fault)

    def _content(self, content: bytes, fault: Fault | None) -> None:
        assert isinstance(self.server, Server)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        body = content[start:]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if fault is Fault.DAMAGED:
            body = body[::-1]
        if fault in {Fault.CUT, Fault.RESET}:
            self._head(206 if start else 200, len(body), headers)
            self.wfile.write(body[: max(1, len(body) // 2)])
            self.wfile.flush()
            if fault is Fault.RESET:
                time.sleep(0.05)  # a reset discards what the client has not read yet
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        self._send(206 if start else 200, body, headers)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", {**({"X-Error-Code": code} if code else {}), **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        assert isinstance(self.server, Server)
        self._head(status, len(body), headers)
        if self.command != "GET":
            return
        for start in range(0, len(body), 2**16):
            self.wfile.write(body[start : start + 2**16])
            if self.server.hub.pause_s:
                self.wfile.flush()
                time.sleep(self.server.hub.pause_s)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        is_portal = headers.get("Content-Type") == "text/html"
        for name, value in ({} if is_portal else {"X-Repo-Commit": _COMMIT} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
