"""A stand-in for the server, on a loopback port: chains in a dictionary, events as scripted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
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
    chains: dict[str, dict[str, Any]] = field(default_factory=lambda: {SONG: song()})
    streams: list[list[bytes]] = field(default_factory=list)
    """What each connection to the events gets, in turn; after the last one, all pending nodes get ready."""
    outcome: dict[str, Any] = field(default_factory=lambda: {"status": "ready"})
    job_states: list[dict[str, Any]] = field(default_factory=list)
    export_is_ready: bool = False
    stems: tuple[str, ...] = ("vocals", "residual")
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def headers_of(self, path_end: str) -> list[dict[str, str]]:
        return [headers for _, path, headers in self.requests if path.endswith(path_end)]

    async def events(self, chain: dict[str, Any]) -> AsyncIterator[bytes]:
        if self.streams:
            for chunk in self.streams.pop(0):
                if chunk == DROP:
                    raise ConnectionError("as the script says")
                yield chunk
            return
        yield frame("snapshot", chain, chain["version"])
        for each in [each for each in chain["nodes"] if each["status"] == "pending"]:
            yield frame("progress", {"node_id": each["id"], "job_id": each["job_id"], "progress": 0.5})
            each.update(self.outcome)
            chain["version"] += 1
            yield frame("node", each)
            summary = {name: chain[name] for name in ("id", "title", "version", "spine", "updated_at")}
            yield frame("chain", summary, chain["version"])


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

    @app.post("/v1/chains", status_code=201)
    async def upload(request: Request) -> Any:
        async with request.form() as form:
            file = form["file"]
            assert not isinstance(file, str)
            audio = await file.read()
            if not audio.startswith(b"RIFF"):
                return problem(415, "Unsupported Media Type", "This is no audio file.")
            chain = {**song(), "id": "9e9e" + 20 * "0", "title": form.get("title") or file.filename}
            fake.chains[chain["id"]] = chain
            fake.bodies.append((file.filename, audio))
            return chain

    @app.get("/v1/chains")
    async def chains(cursor: int = 0) -> Any:
        found = list(fake.chains.values())
        following = cursor + 1 if cursor + 1 < len(found) else None
        return {
            "chains": [{**chain, "nodes": None} for chain in found[cursor : cursor + 1]],
            "cursor": None if following is None else str(following),
        }

    @app.get("/v1/chains/{chain_id}")
    async def chain(chain_id: str) -> Any:
        return fake.chains.get(chain_id) or problem(404, "Not Found", f"no chain {chain_id}")

    @app.post("/v1/chains/{chain_id}/nodes", status_code=202)
    async def branch(chain_id: str, body: dict[str, Any]) -> Any:
        fake.bodies.append(body)
        if body["duration_s"] > 30:
            return problem(422, "Unprocessable", "duration_s: at most 30")
        new = [
            node(f"dd{take}0" + 20 * "0", body["parent_id"], status="pending", job_id=f"job-{take}")
            for take in range(body["takes"])
        ]
        fake.chains[chain_id]["nodes"] += new
        job_ids = [each["job_id"] for each in new]
        return {"nodes": new, "job_ids": job_ids, "job_id": job_ids[0]}

    @app.post("/v1/chains/{chain_id}/nodes/{node_id}/stems", status_code=202)
    @app.post("/v1/chains/{chain_id}/nodes/{node_id}/analysis", status_code=202)
    async def derive(node_id: str, body: dict[str, Any]) -> Any:
        fake.bodies.append(body)
        return {"job_id": "job-x", "job_ids": ["job-x"], "status": "queued"}

    @app.post("/v1/chains/{chain_id}/nodes/{node_id}/{decision}")
    async def decide(chain_id: str, node_id: str, decision: str) -> Any:
        found = fake.chains[chain_id]
        if decision == "discard" and node_id in found["spine"]:
            return problem(409, "Conflict", "a node of the spine cannot be discarded")
        for each in found["nodes"]:
            if each["id"] == node_id:
                each["decision"] = {"commit": "committed", "discard": "discarded"}[decision]
        if decision == "commit":
            found["spine"].append(node_id)
        return found

    @app.get("/v1/chains/{chain_id}/events")
    async def events(chain_id: str) -> Response:
        return StreamingResponse(fake.events(fake.chains[chain_id]), media_type="text/event-stream")

    @app.get("/v1/chains/{chain_id}/nodes/{node_id}/audio")
    async def audio(node_id: str, format: str = "wav") -> Response:  # noqa: A002 - the query parameter's name
        return Response(f"{node_id} as {format}".encode())

    @app.post("/v1/chains/{chain_id}/export")
    async def export(body: dict[str, Any]) -> Response:
        if fake.export_is_ready:
            return Response(f"line as {body['format']}".encode())
        return JSONResponse({"job_id": "job-x", "job_ids": ["job-x"]}, 202)

    @app.get("/v1/jobs/{job_id}")
    async def job(job_id: str) -> Any:
        return {"id": job_id, "kind": "export", **fake.job_states.pop(0)}

    @app.get("/v1/jobs/{job_id}/audio")
    async def live(job_id: str) -> Response:
        async def sound() -> AsyncIterator[bytes]:
            yield b"the sound "
            if job_id == "job-broken":
                raise ConnectionError("as the script says")
            yield f"of {job_id}".encode()

        return StreamingResponse(sound(), media_type="audio/wav")

    @app.get("/v1/exports/{export_id}/file")
    async def file(export_id: str) -> Response:
        return Response(f"export {export_id}".encode())

    @app.get("/v1/chains/{chain_id}/nodes/{node_id}/analysis")
    async def analysis(node_id: str) -> Any:
        said = {
            "rhythm": {"bpm": 96.42, "confidence": 0.9},
            "key": {"name": "F# minor", "confidence": 0.75},
            "level": {"integrated_lufs": None},
            "emotion": {"label": "calm"},
            "style": {"name": "Ambient"},
            "prompt": "calm ambient, 96 bpm",
        }
        return {"status": "ready", "analysis": said, "runs": []}

    @app.get("/v1/chains/{chain_id}/nodes/{node_id}/stems")
    async def stems() -> Any:
        return {"status": "ready", "stems": [{"name": name} for name in fake.stems]}

    @app.get("/v1/chains/{chain_id}/nodes/{node_id}/stems/{stem}")
    async def stem(stem: str, format: str = "wav") -> Response:  # noqa: A002 - the query parameter's name
        return Response(f"{stem} as {format}".encode())

    @app.get("/v1/models")
    async def models() -> Any:
        return {
            "models": [
                {"name": "tiny", "default": True, "status": "ready", "licence": "MIT", "engine": "tone"},
                {"name": "facebook/musicgen-small", "licence": "CC-BY-NC 4.0"},
            ]
        }

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
