"""What is framed is what a client's parser gets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.sse import EventStreamResponse, comment, frame, last_event_id, retry


@dataclass
class Event:
    name: str
    data: str
    id: str


def parse(stream: bytes) -> tuple[list[Event], int | None]:
    """The events and the reconnection time, by the algorithm of WHATWG HTML 9.2.6."""
    events, reconnect_ms = [], None
    name, data, last_id = "", "", ""
    text = stream.decode().replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n"):
        if not line:
            if data:
                events.append(Event(name or "message", data.removesuffix("\n"), last_id))
            name, data = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and value.isdigit():
            reconnect_ms = int(value)
    return events, reconnect_ms


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(st.text(), json_values, max_size=5)


@given(st.lists(st.tuples(payloads, st.none() | st.integers(0, 10**12)), max_size=5))
def test_any_json_survives_between_comments(items: list[tuple[dict[str, Any], int | None]]) -> None:
    stream = retry(1500) + b"".join(comment("beat") + frame("node", data, number) for data, number in items)
    events, reconnect_ms = parse(stream)
    assert reconnect_ms == 1500
    assert [json.loads(event.data) for event in events] == [data for data, _ in items]
    assert {event.name for event in events} <= {"node"}
    newest = ""
    for event, (_, number) in zip(events, items, strict=True):
        newest = newest if number is None else str(number)
        assert event.id == newest


def test_half_a_surrogate_pair_survives() -> None:
    (event,), _ = parse(frame("node", {"title": "\ud800"}))
    assert json.loads(event.data) == {"title": "\ud800"}


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "x\n\nevent: forged"])
def test_nothing_breaks_out_of_its_line(text: str) -> None:
    with pytest.raises(ValueError, match="not one line"):
        frame(text, {})
    with pytest.raises(ValueError, match="not one line"):
        frame("node", {}, id=text)
    with pytest.raises(ValueError, match="not one line"):
        comment(text)


def test_numbers_that_browsers_cannot_parse_are_an_error() -> None:
    with pytest.raises(ValueError, match="JSON"):
        frame("progress", {"value": float("nan")})


def test_a_negative_wait_is_an_error() -> None:
    with pytest.raises(ValueError, match="-1 ms"):
        retry(-1)


async def test_the_response_is_an_uncached_event_stream() -> None:
    app = FastAPI()

    @app.get("/")
    async def events() -> EventStreamResponse:
        async def frames() -> AsyncIterator[bytes]:
            yield frame("snapshot", {"id": "c1"}, id=7)
            yield comment()

        return EventStreamResponse(frames())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        response = await http.get("/")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert parse(response.content)[0] == [Event("snapshot", '{"id":"c1"}', "7")]


def request_with(header: str | None, query: str) -> Request:
    headers = [] if header is None else [(b"last-event-id", header.encode("latin-1"))]
    return Request({"type": "http", "headers": headers, "query_string": query.encode()})


@pytest.mark.parametrize(
    ("header", "query", "expected"),
    [
        ("41", "", 41),
        (None, "last_event_id=42", 42),
        ("41", "last_event_id=42", 41),
        ("", "last_event_id=42", 42),
        (None, "", None),
        ("junk", "", None),
        ("-1", "", None),
        ("1.5", "", None),
        ("\u00b2", "", None),
        ("9" * 5000, "", None),
    ],
)
def test_where_a_client_resumes(header: str | None, query: str, expected: int | None) -> None:
    assert last_event_id(request_with(header, query)) == expected
