"""A server whose event streams follow a script and break off where it says so: the real one cannot be made to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

DROP = b"<the connection breaks here>"
SPINE_END = "bb00" + 20 * "0"
TAKE = "bbff" + 20 * "0"
SONG = "5a5a" + 20 * "0"


def node(node_id: str, parent_id: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": node_id,
        "parent_id": parent_id,
        "status": "ready",
        "decision": "candidate",
        "duration_s": 8.0,
        "prompt": "",
        "params": {},
        "seed": None,
        "job_id": None,
        "progress": None,
        "audio": None,
        "error": None,
        **fields,
    }


def song() -> dict[str, Any]:
    """A root, a committed continuation, one take beside it and one after it."""
    root = "aa00" + 20 * "0"
    return {
        "id": SONG,
        "title": "Evening",
        "version": 7,
        "created_at": "2026-10-01T12:00:00Z",
        "updated_at": "2026-10-01T12:30:00Z",
        "root_id": root,
        "spine": [root, SPINE_END],
        "nodes": [
            node(root, decision="committed", duration_s=12.0),
            node(SPINE_END, root, decision="committed", prompt="warm pads"),
            node("cc00" + 20 * "0", root, decision="discarded", prompt="too loud"),
            node(TAKE, SPINE_END, prompt="strings\x1b[31m"),
        ],
    }


def frame(event: str, data: Any, event_id: int | None = None) -> bytes:
    lines = [
        f"event: {event}",
        *([] if event_id is None else [f"id: {event_id}"]),
        f"data: {json.dumps(data)}",
    ]
    return ("\n".join(lines) + "\n\n").encode()


@dataclass
class FakeSegue:
    """One chain and its events."""

    chain: dict[str, Any] = field(default_factory=song)
    streams: list[list[bytes]] = field(default_factory=list)
    """What each connection to the events gets, in turn; after the last one, all pending nodes get ready."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def headers_of(self, path_end: str) -> list[dict[str, str]]:
        return [headers for _, path, headers in self.requests if path.endswith(path_end)]

    async def events(self) -> AsyncIterator[bytes]:
        if self.streams:
            for chunk in self.streams.pop(0):
                if chunk == DROP:
                    raise ConnectionError("as the script says")
                yield chunk
            return
        yield frame("snapshot", self.chain, self.chain["version"])
        for each in [each for each in self.chain["nodes"] if each["status"] == "pending"]:
            each["status"] = "ready"
            self.chain["version"] += 1
            yield frame("node", each)
            yield frame("chain", {"version": self.chain["version"]}, self.chain["version"])


def problem(status: int, title: str, detail: str) -> JSONResponse:
    content = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": "req-1",
    }
    return JSONResponse(content, status, media_type="application/problem+json")


def create_fake(fake: FakeSegue) -> ASGIApp:
    app = FastAPI()

    # Plain ASGI: a BaseHTTPMiddleware would turn a stream that breaks into one that ends in good order.
    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        fake.requests.append((scope["method"], scope["path"], headers))
        await app(scope, receive, send)

    @app.get(f"/v1/chains/{SONG}")
    async def chain() -> Any:
        return fake.chain

    @app.get(f"/v1/chains/{SONG}/events")
    async def events() -> Response:
        return StreamingResponse(fake.events(), media_type="text/event-stream")

    return recorded


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """The app behind a real socket; gives its URL."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_level="critical",
        ws="none",
        lifespan="off",
        loop="asyncio",
        http="h11",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
