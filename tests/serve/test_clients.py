"""The clients that tests use while processes die: both go on where a plain one would end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from tests.segue_client.fake_segue import (
    DROP,
    SONG,
    TAKE,
    FakeSegue,
    create_fake,
    frame,
    node,
    problem,
    serving,
    song,
)
from tests.serve import patient
from tests.serve.event_source import EventSource
from tests.serve.patient import PatientClient


def test_an_event_source_that_is_cut_goes_on_after_the_last_id() -> None:
    ready = node(TAKE, audio={"sha256": "5" * 64})
    streams = [
        [frame("snapshot", song(), 7), frame("node", node(TAKE, status="running")), DROP],
        [frame("node", ready), frame("chain", {"version": 8}, 8), DROP],
    ]
    fake = FakeSegue(streams=streams)
    with serving(create_fake(fake)) as url, EventSource(url, SONG) as page:
        page.wait_until(lambda page: page.version == 8, 20, "the chain is at version 8")
        assert page.nodes[TAKE] == ready
        assert page.hashes == {TAKE: {"5" * 64}}
        assert page.streams == 2
    first, second = fake.headers_of("/events")[:2]
    assert "last-event-id" not in first
    assert second["last-event-id"] == "7"  # the node's frame had none: it may come again


def test_a_patient_client_asks_until_segue_itself_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "PAUSE_S", 0.01)
    answers: list[Response] = [
        PlainTextResponse("Internal Server Error", 500),
        problem(503, "Unavailable", "the store is away"),
        PlainTextResponse("Path '/work' not found.", 404),
        problem(429, "Too many", "later"),
        JSONResponse({"done": True}, 202),
    ]
    keys: list[str | None] = []
    app = FastAPI()

    @app.post("/work")
    async def work(request: Request) -> Response:
        keys.append(request.headers.get("idempotency-key"))
        return answers.pop(0)

    with serving(app) as url, PatientClient(url) as client:
        answer = client.ask("POST", "/work", key="k")
    assert answer.json() == {"done": True}
    assert keys == ["k"] * 5
    assert client.unanswered.total() == 4


def test_a_refusal_of_segues_own_is_an_answer() -> None:
    app = FastAPI()

    @app.get("/work")
    async def work() -> Response:
        return problem(404, "Not found", "no such work")

    with serving(app) as url, PatientClient(url) as client:
        assert client.ask("GET", "/work").status_code == 404
        with pytest.raises(AssertionError, match="no such work"):
            client.get("/work")


def test_who_hangs_up_once_is_answered_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "PAUSE_S", 0.01)
    app = FastAPI()

    @app.post("/work")
    async def work() -> Response:
        await asyncio.sleep(1.5)
        return JSONResponse({}, 202)

    with serving(app) as url, PatientClient(url) as client:
        assert client.ask("POST", "/work", first_timeout_s=0.5).status_code == 202
    assert client.unanswered == {"ReadTimeout": 1}


def test_a_file_that_breaks_off_is_heard_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "PAUSE_S", 0.01)
    ranges: list[str | None] = []
    app = FastAPI()

    @app.get("/audio")
    async def audio(request: Request) -> Response:
        ranges.append(request.headers.get("range"))
        if len(ranges) == 1:
            return StreamingResponse(_breaking_off(b"0123"), headers={"Content-Length": "10"})
        if len(ranges) == 2:
            return problem(503, "Unavailable", "a moment")
        return Response(b"456789", 206)

    with serving(app) as url, PatientClient(url) as client:
        assert client.hear("/audio") == b"0123456789"
    assert ranges == [None, "bytes=4-", "bytes=4-"]


async def _breaking_off(data: bytes) -> AsyncIterator[bytes]:
    yield data
    raise ConnectionError("as the script says")


def test_what_will_have_no_end_is_not_waited_for() -> None:
    app = FastAPI()

    @app.get("/audio")
    async def audio() -> Response:
        return problem(409, "Conflict", "it was cancelled")

    with serving(app) as url, PatientClient(url) as client:
        assert client.hear("/audio") is None


def test_nobody_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "PATIENCE_S", 0.2)
    with PatientClient("http://127.0.0.1:9") as client, pytest.raises(TimeoutError, match="ConnectError"):
        client.ask("GET", "/work")
