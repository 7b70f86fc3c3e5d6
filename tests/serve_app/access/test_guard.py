"""What stands before the routes: the key before the body, bodies in time, places for others."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from starlette.types import Message

from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.analysis.protocol import AnalysisRequest
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.serve_app.access.keys import configured
from tests.support.harness import Running, listening, problem, running, tone, wav
from tests.support.patience import until

KEYS = {"keys": (configured("ann", "ann", "free"), configured("bob", "bob", "paid"))}


async def asked(
    app: Running, method: str, path: str, headers: dict[str, str], body: list[Message]
) -> list[Message]:
    """What an ASGI server would send for a request whose body is these messages and then never ends."""
    sent: list[Message] = []
    rest = list(body)

    async def receive() -> Message:
        if rest:
            return rest.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nothing more comes")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"testserver"),
            *((k.lower().encode(), v.encode()) for k, v in headers.items()),
        ],
        "client": ("192.0.2.7", 1),
        "server": ("testserver", 80),
    }
    await app.api(scope, receive, send)
    return sent


@pytest.mark.parametrize("path", ["/generate", "/v1/chains", "/process", "/v1/keys"])
async def test_a_stranger_is_refused_before_the_body(path: str) -> None:
    async with running({"mock": MockEngine()}, overrides={"access": KEYS}, work=False) as app:
        headers = {"Content-Type": "application/json", "Content-Length": "200"}
        sent = await asked(app, "POST", path, headers, [])
        assert sent[0]["status"] == 401
        assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize(
    ("path", "content_type", "start"),
    [
        ("/generate", "application/json", b"{"),
        ("/v1/chains", "application/json", b"{"),
        ("/v1/chains", "multipart/form-data; boundary=b", b"--b\r\n"),
        ("/analyze", "multipart/form-data; boundary=b", b"--b\r\n"),
    ],
)
async def test_a_body_that_stops_is_408(path: str, content_type: str, start: bytes) -> None:
    overrides = {"access": KEYS, "http": {"body_idle_s": 0.1}}
    async with running(
        {"mock": MockEngine()}, analyser=MockAnalyser(), overrides=overrides, work=False
    ) as app:
        headers = {"Content-Type": content_type, "Content-Length": "200", "X-API-Key": "ann"}
        part = {"type": "http.request", "body": start, "more_body": True}
        sent = await asked(app, "POST", path, headers, [part])
        assert sent[0]["status"] == 408
        assert (b"content-type", b"application/problem+json") in sent[0]["headers"]


async def test_streams_leave_places_for_others_and_for_who_watches() -> None:
    overrides = {"access": KEYS, "http": {"open_requests": 10}, "events": {"max_stream_s": 60}}
    async with running({"mock": MockEngine()}, overrides=overrides) as app:
        app.http.headers["X-API-Key"] = "ann"
        chain = await app.upload(wav(tone(0.2, 8000), 8000))
        url = f"/v1/chains/{chain['id']}/events"
        async with listening(app.api) as client:
            holding: list[asyncio.Task[None]] = []
            statuses: list[int] = []

            async def hold() -> None:
                async with client.stream("GET", url, headers={"X-API-Key": "ann"}) as answer:
                    statuses.append(answer.status_code)
                    if answer.status_code == 200:
                        await asyncio.Event().wait()

            for _ in range(14):
                holding.append(asyncio.create_task(hold()))
            await until(lambda: len(statuses) == 14)
            assert (statuses.count(200), statuses.count(429)) == (8, 6)
            refused = await client.get("/v1/chains", headers={"X-API-Key": "ann"})
            assert problem(refused, 429)["type"] == "urn:segue:problem:open-requests"
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/v1/chains", headers={"X-API-Key": "bob"})).status_code == 200
            for task in holding:
                task.cancel()
            await asyncio.gather(*holding, return_exceptions=True)

            async def is_free() -> bool:
                answer = await client.get("/v1/chains", headers={"X-API-Key": "ann"})
                return answer.status_code == 200

            await until(is_free)


async def test_a_tier_bounds_open_streams() -> None:
    tiers = [{"name": "free", "streams": 2}, {"name": "paid"}]
    async with running({"mock": MockEngine()}, overrides={"access": {**KEYS, "tiers": tiers}}) as app:
        app.http.headers["X-API-Key"] = "ann"
        chain = await app.upload(wav(tone(0.2, 8000), 8000))
        guard_key = {"X-API-Key": "ann"}
        async with listening(app.api) as client:

            async def opened() -> AsyncIterator[httpx.Response]:
                async with client.stream(
                    "GET", f"/v1/chains/{chain['id']}/events", headers=guard_key
                ) as answer:
                    yield answer

            streams = [opened() for _ in range(3)]
            answers = [await anext(stream) for stream in streams]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
            assert (await client.get("/v1/chains", headers=guard_key)).status_code == 200
            for stream in streams:
                await stream.aclose()  # type: ignore[attr-defined]


class Listening(MockAnalyser):
    """Keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[int, tuple[int, ...]]] = []

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        self.given.append((request.rate_hz, request.samples.shape))
        return await super().analyse(request)


def flac(seconds: float, rate_hz: int) -> bytes:
    """Of one constant level: some bytes for each second."""
    file = io.BytesIO()
    soundfile.write(file, np.full((round(seconds * rate_hz), 2), 0.01, np.float32), rate_hz, format="FLAC")
    return file.getvalue()


async def test_a_small_file_that_is_a_lot_of_audio() -> None:
    analyser = Listening()
    limits: dict[str, Any] = {
        "uploads": {"max_decoded_bytes": 4_000_000},
        "process": {"max_decoded_bytes": 10_000_000, "max_disk_bytes": 20_000_000},
    }
    async with running(
        {"mock": MockEngine()}, separators={"mock": MockSeparator()}, analyser=analyser, overrides=limits
    ) as app:
        large = flac(3.0, 192_000)
        assert len(large) < 20_000
        told = problem(await app.http.post("/v1/chains", files={"file": ("a.flac", large)}), 422)
        assert "at 192000 Hz and 2 channels, 3 s are taken" in told["detail"]
        before = await app.keys()
        refused = problem(await app.http.post("/process", files={"file": ("a.flac", large)}), 413)
        assert "on disk" in refused["detail"]
        assert await app.keys() == before
        chain = await app.upload(flac(2.0, 192_000), "a.flac")
        await until(lambda: bool(analyser.given))
        assert analyser.given == [(48_000, (2, 96_000))]
        await app.rest()
        root = (await app.chain(chain["id"]))["nodes"][0]
        assert root["audio"]["sample_rate_hz"] == 192_000
