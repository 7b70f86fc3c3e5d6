"""An upload arrives on disk as it was sent, however it is cut; what is refused leaves nothing behind."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from hypothesis import assume, given
from hypothesis import strategies as st

from serve_app.http.errors import (
    BadRequest,
    ClientGone,
    PayloadTooLarge,
    Unprocessable,
    install_error_handlers,
)
from serve_app.http.form import Form, FormLimits
from serve_app.http.middleware import BodyLimitMiddleware
from serve_app.http.multipart import DRAIN_BYTES, receive_upload

LIMIT = 100_000
BOUNDARY = "segue-boundary"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def make_app(spool: Path, max_bytes: int = LIMIT) -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)
    app.add_middleware(BodyLimitMiddleware, max_bytes=100)

    @app.post("/")
    async def upload(request: Request) -> dict[str, Any]:
        async with receive_upload(
            request, max_bytes=max_bytes, spool_dir=spool, max_fields=2, max_field_bytes=1000
        ) as received:
            assert received.path.parent == spool
            on_disk = received.path.read_bytes()
            return {
                "size": received.size_bytes,
                "sha256": received.sha256,
                "on_disk": hashlib.sha256(on_disk).hexdigest(),
                "filename": received.filename,
                "content_type": received.content_type,
                "fields": received.fields,
            }

    return app


async def post(app: FastAPI, **kwargs: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        return await http.post("/", **kwargs)


async def in_pieces(data: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def leftovers(spool: Path) -> list[str]:
    return [path.name for path in spool.iterdir()]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


async def test_a_file_and_its_fields_arrive_and_the_temporary_file_goes(spool: Path) -> None:
    content = bytes(range(256)) * 300
    response = await post(
        make_app(spool), files={"file": ("Прелюдия.wav", content, "audio/wav")}, data={"title": "Ночь"}
    )
    assert response.json() == {
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "on_disk": hashlib.sha256(content).hexdigest(),
        "filename": "Прелюдия.wav",
        "content_type": "audio/wav",
        "fields": {"title": "Ночь"},
    }
    assert leftovers(spool) == []


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b"\r\n", b"--", b"-", BOUNDARY.encode(), b"x"])).map(b"".join),
    st.integers(1, 64),
)
def test_any_content_survives_any_cutting(content: bytes, size: int) -> None:
    assume(f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + content)
    form = Form(FORM_TYPE, FormLimits(LIMIT, 2, 1000))
    body = part("title", b"t") + part("file", content, "a.wav") + part("more", b"m") + END
    got = b""
    for start in range(0, len(body), size):
        form.feed(body[start : start + size])
        got += form.take_pending()
    form.close()
    assert got == content
    assert form.fields == {"title": "t", "more": "m"}


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([f"--{BOUNDARY}".encode(), b"\r\n", b"\r\n\r\n", END]))
)
def test_junk_is_refused_as_a_problem_and_never_another_error(pieces: list[bytes]) -> None:
    form = Form(FORM_TYPE, FormLimits(LIMIT, 2, 1000))
    with suppress(BadRequest, Unprocessable):
        for piece in pieces:
            form.feed(piece)
        form.close()
        form.require_file()


@pytest.mark.parametrize("streamed", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("over", [1, LIMIT * 20])
async def test_a_file_over_the_limit_is_refused_by_name_and_number(
    spool: Path, streamed: bool, over: int
) -> None:
    body = part("file", b"x" * (LIMIT + over), "a.wav") + END
    response = await post(
        make_app(spool), content=in_pieces(body) if streamed else body, headers={"content-type": FORM_TYPE}
    )
    assert response.status_code == 413
    assert response.json()["detail"] == "The file is over the limit of 0.1 MB (100000 bytes)."
    assert response.headers["connection"] == "close"
    assert leftovers(spool) == []


async def test_a_file_of_just_the_limit_is_taken_whatever_its_fields(spool: Path) -> None:
    response = await post(
        make_app(spool), files={"file": b"x" * LIMIT}, data={"a": "y" * 1000, "b": "z" * 1000}
    )
    assert response.json()["size"] == LIMIT


async def test_padding_around_a_small_file_is_limited_too(spool: Path) -> None:
    body = part("file", b"x", "a.wav") + END + b"epilogue" * LIMIT
    response = await post(make_app(spool), content=in_pieces(body), headers={"content-type": FORM_TYPE})
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ("audio/wav", 415),
        ("application/x-www-form-urlencoded", 415),
        (None, 415),
        ("multipart/mixed; boundary=x", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=" + "x" * 300, 400),
    ],
)
async def test_a_body_that_is_no_form_is_refused(spool: Path, content_type: str | None, status: int) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await post(make_app(spool), content=b"RIFF", headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (part("title", b"x") + END, 422, "file: a file is required in a part of this name"),
        (END, 422, "file: a file is required in a part of this name"),
        (part("file", b"", "") + END, 422, "file: the file is empty"),
        (part("file", b"a", "a") + part("file", b"b", "b") + END, 422, "file: one file at a time"),
        (part("audio", b"a", "a.wav") + END, 422, "audio: the file has to be in the part named `file`"),
        (part("title", b"a") * 2 + END, 422, "title: given twice"),
        (part("a", b"") + part("b", b"") + part("c", b"") + END, 422, "c: a form has at most 2 fields"),
        (part("title", b"x" * 1001) + END, 422, "title: longer than 1000 bytes"),
        (part("title", b"\xff") + END, 422, "title: not UTF-8 text"),
        (part("file", b"abc", "a.wav"), 400, "The body ends before the form does."),
        (part("file", b"abc", "a.wav") + END[:-4], 400, "The body ends before the form does."),
        (b"", 400, "The body ends before the form does."),
        (b"not a form", 400, "The form cannot be read."),
        (f"--{BOUNDARY}\r\nno header\r\n\r\n".encode(), 400, "The form cannot be read."),
        (f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END, 400, "A part of the form has no name."),
        (f"--{BOUNDARY}\r\nA: {'x' * 10_000}\r\n\r\n".encode(), 400, "The form cannot be read."),
    ],
)
async def test_a_wrong_form_is_refused_with_the_reason(
    spool: Path, body: bytes, status: int, says: str
) -> None:
    response = await post(make_app(spool), content=body, headers={"content-type": FORM_TYPE})
    assert (response.status_code, response.json()["detail"]) == (status, says)
    if status == 422:
        assert response.json()["errors"][0]["field"] == says.partition(":")[0]
    assert leftovers(spool) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("C:\\music\\take.wav", "take.wav"),
        ("../../etc/passwd", "passwd"),
        ("x" * 400, "x" * 255),
        ("say %22hi%22.ogg", 'say "hi".ogg'),  # as browsers and httpx write a quote
        ("two%0D%0Alines.ogg", "two lines.ogg"),
        ("100%25.ogg", "100%25.ogg"),
        ("song\u202egpj.wav", "songgpj.wav"),
        ("bell\x07.wav", "bell.wav"),
        ("cafe\u0301 \N{MUSICAL SYMBOL G CLEF}.wav", "café \N{MUSICAL SYMBOL G CLEF}.wav"),
    ],
)
async def test_a_file_name_is_kept_as_its_owner_sees_it_without_folders(
    spool: Path, sent: str, kept: str
) -> None:
    body = part("file", b"abc", sent) + END
    response = await post(make_app(spool), content=body, headers={"content-type": FORM_TYPE})
    assert response.json()["filename"] == kept


def upload_scope() -> dict[str, Any]:
    headers = [(b"content-type", FORM_TYPE.encode())]
    return {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}


async def test_a_client_that_hangs_up_leaves_no_file(spool: Path) -> None:
    messages = [
        {"type": "http.request", "body": part("file", b"x" * 50_000, "a.wav"), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        if len(messages) == 1:
            assert len(leftovers(spool)) == 1
        return messages.pop(0)

    with pytest.raises(ClientGone):
        async with receive_upload(Request(upload_scope(), receive), max_bytes=LIMIT, spool_dir=spool):
            raise AssertionError("nothing was received")
    assert leftovers(spool) == []


async def test_a_failure_of_the_user_of_the_file_leaves_no_file_either(spool: Path) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": part("file", b"abc", "a.wav") + END, "more_body": False}

    async def use() -> None:
        async with receive_upload(Request(upload_scope(), receive), max_bytes=LIMIT, spool_dir=spool):
            assert len(leftovers(spool)) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()
    assert leftovers(spool) == []


async def test_a_cancelled_upload_leaves_no_file(spool: Path) -> None:
    begun = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if begun.is_set():
            await asyncio.sleep(60)
        begun.set()
        return {"type": "http.request", "body": part("file", b"x" * 50_000, "a.wav"), "more_body": True}

    async def upload() -> None:
        async with receive_upload(Request(upload_scope(), receive), max_bytes=LIMIT, spool_dir=spool):
            raise AssertionError("nothing was received")

    task = asyncio.create_task(upload())
    await begun.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers(spool) == []


async def test_a_refusal_reads_on_only_for_a_while(spool: Path) -> None:
    read_bytes = 0

    async def receive() -> dict[str, Any]:
        nonlocal read_bytes
        read_bytes += 65_536
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    scope = upload_scope()
    scope["headers"].append((b"content-length", b"999999999"))
    with pytest.raises(PayloadTooLarge):
        async with receive_upload(Request(scope, receive), max_bytes=LIMIT, spool_dir=spool):
            raise AssertionError("nothing was received")
    assert 0 < read_bytes <= DRAIN_BYTES + 65_536


async def test_a_client_that_waits_for_leave_to_send_is_refused_unread(spool: Path) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("asked for the body")

    scope = upload_scope()
    scope["headers"] += [(b"content-length", b"999999999"), (b"expect", b"100-continue")]
    with pytest.raises(PayloadTooLarge):
        async with receive_upload(Request(scope, receive), max_bytes=LIMIT, spool_dir=spool):
            raise AssertionError("nothing was received")


async def test_a_large_file_is_never_whole_in_memory(spool: Path) -> None:
    size_bytes, piece = 32 * 2**20, b"x" * 65_536

    async def body() -> AsyncIterator[bytes]:
        yield part("file", b"", "a.wav")[:-2]
        for _ in range(size_bytes // len(piece)):
            yield piece
        yield b"\r\n" + END

    stream = body()

    async def receive() -> dict[str, Any]:
        data = await anext(stream, None)
        return {"type": "http.request", "body": data or b"", "more_body": data is not None}

    tracemalloc.start()
    try:
        async with receive_upload(
            Request(upload_scope(), receive), max_bytes=size_bytes, spool_dir=spool
        ) as received:
            assert received.size_bytes == received.path.stat().st_size == size_bytes
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * 2**20


async def test_an_ordinary_client_gets_to_read_the_refusal_over_a_real_connection(spool: Path) -> None:
    config = uvicorn.Config(make_app(spool), log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        body = part("file", b"x" * (20 * 2**20), "a.wav") + END
        for content in (body, in_pieces(body, 65_536)):
            async with httpx.AsyncClient(trust_env=False) as http:
                response = await http.post(url, content=content, headers={"content-type": FORM_TYPE})
            assert response.status_code == 413
            assert response.json()["limit_bytes"] == LIMIT
    finally:
        server.should_exit = True
        await serving
