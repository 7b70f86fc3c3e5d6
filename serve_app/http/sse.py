"""Server-sent events on the wire (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import StreamingResponse

_SINGLE_LINE: Final = re.compile(r"[^\r\n\0]*")
_EVENT_ID: Final = re.compile(r"[0-9]{1,18}")


def frame(event: str, data: Mapping[str, Any], id: str | int | None = None) -> bytes:  # noqa: A002 - SSE's word
    """One event; `data` goes as one line of ASCII JSON.

    Raises ValueError if a name or id would break the line, or a number is not JSON (NaN).
    """
    lines = [f"event: {_one_line(event)}"]
    if id is not None:
        lines.append(f"id: {_one_line(str(id))}")
    lines.append("data: " + json.dumps(data, separators=(",", ":"), allow_nan=False))
    return ("\n".join(lines) + "\n\n").encode()


def comment(text: str = "") -> bytes:
    """A line that clients skip: a heartbeat. Raises ValueError if it is not one line."""
    return f": {_one_line(text)}\n\n".encode()


def retry(ms: int) -> bytes:
    """How long a client waits before it reconnects. Raises ValueError if negative."""
    if ms < 0:
        raise ValueError(f"a wait of {ms} ms")
    return f"retry: {ms}\n\n".encode()


def _one_line(text: str) -> str:
    if not _SINGLE_LINE.fullmatch(text):
        raise ValueError(f"not one line: {text!r}")
    return text


class EventStreamResponse(StreamingResponse):
    """A stream of frames that neither caches nor proxies hold back."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        super().__init__(frames, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


def last_event_id(request: Request) -> int | None:
    """Where a client resumes: its `Last-Event-ID` header, else `?last_event_id=`; None if it is no number.

    The query parameter is for a first connection: EventSource cannot set headers on its own.
    """
    text = request.headers.get("last-event-id") or request.query_params.get("last_event_id", "")
    return int(text) if _EVENT_ID.fullmatch(text) else None
