"""Any range of any blob is that slice; junk is the whole blob; a lost blob is still an error answer."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http import ranges
from serve_app.http.errors import RangeNotSatisfiable, install_error_handlers
from serve_app.http.ranges import ByteRange, blob_response, content_disposition, parse_range
from storage.stores.object_store import ObjectNotFound

BLOB = bytes(range(256)) * 20
ETAG = hashlib.sha256(BLOB).hexdigest()


def make_app(data: bytes = BLOB, *, filename: str = "take 1.wav", gone_at: int | None = None) -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)

    async def read(start: int, length: int) -> bytes:
        if gone_at is not None and start >= gone_at:
            raise ObjectNotFound("tenants/t/blobs/b")
        return data[start : start + length]

    @app.api_route("/", methods=["GET", "HEAD"])
    async def download(request: Request) -> Response:
        return await blob_response(
            request, size=len(data), etag=ETAG, media_type="audio/wav", filename=filename, read=read
        )

    return app


async def fetch(app: FastAPI, method: str = "GET", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.request(method, "/", headers=sent)


@given(st.integers(1, 10_000), st.data())
def test_a_range_within_the_blob_is_that_range(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, 2 * size))
    expected = ByteRange(first, min(last, size - 1) - first + 1)
    assert parse_range(f"bytes={first}-{last}", size) == expected
    assert parse_range(f"bytes={first}-", size) == ByteRange(first, size - first)
    suffix = data.draw(st.integers(1, 2 * size))
    assert parse_range(f"bytes=-{suffix}", size) == ByteRange(max(0, size - suffix), min(size, suffix))


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_range_past_the_end_cannot_be_satisfied(size: int, beyond: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(f"bytes={size + beyond}-", size)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=0-1,4-5",
        "items=0-1",
        "bytes=0-1-2",
        "bytes=+1-2",
        "bytes=\u0661-\u0662",
        "bytes=0x1-2",
        "bytes 0-1",
    ],
)
def test_what_is_not_one_byte_range_is_ignored(header: str | None) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize("header", ["Bytes=0-1", " bytes = 0-1 ", "bytes=0 - 1", "bytes=000-001"])
def test_harmless_spellings_are_understood(header: str) -> None:
    assert parse_range(header, 100) == ByteRange(0, 2)


@given(
    st.text()
    | st.from_regex(r"bytes=[0-9,\- ]*", fullmatch=True)
    | st.integers(0).map(lambda n: f"bytes={n}-{n}"),
    st.integers(0, 1000),
)
def test_junk_is_ignored_or_unsatisfiable_and_never_another_error(header: str, size: int) -> None:
    try:
        part = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    assert part is None or (part.length >= 1 and 0 <= part.start <= part.last < size)


def test_numbers_of_thousands_of_digits_are_only_large() -> None:
    huge = "9" * 6000
    with pytest.raises(RangeNotSatisfiable):
        parse_range(f"bytes={huge}-", 100)
    assert parse_range(f"bytes=1-{huge}", 100) == ByteRange(1, 99)
    assert parse_range(f"bytes=-{huge}", 100) == ByteRange(0, 100)


def test_nothing_has_no_range() -> None:
    assert parse_range("bytes=-5", 0) is None
    for header in ("bytes=0-", "bytes=-0"):
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, 0)


async def test_the_whole_blob_comes_with_what_a_player_needs() -> None:
    response = await fetch(make_app())
    assert response.status_code == 200
    assert response.content == BLOB
    assert response.headers["content-length"] == str(len(BLOB))
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["etag"] == f'"{ETAG}"'
    assert response.headers["content-disposition"] == 'attachment; filename="take 1.wav"'


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-4999", 100, 5000),
        ("bytes=5000-", 5000, 5120),
        ("bytes=-1", 5119, 5120),
    ],
)
async def test_a_range_crosses_chunks_unharmed(
    header: str, start: int, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "CHUNK_BYTES", 100)
    response = await fetch(make_app(), range=header)
    assert response.status_code == 206
    assert response.content == BLOB[start:stop]
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(BLOB)}"
    assert response.headers["content-length"] == str(stop - start)


async def test_a_range_past_the_end_is_a_problem_that_names_the_size() -> None:
    response = await fetch(make_app(), range="bytes=9999-")
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{len(BLOB)}"
    assert response.headers["content-type"] == "application/problem+json"


async def test_head_has_the_headers_and_no_body() -> None:
    response = await fetch(make_app(gone_at=0), "HEAD", range="bytes=0-1")
    assert response.status_code == 200
    assert response.content == b""
    assert response.headers["content-length"] == str(len(BLOB))


@pytest.mark.parametrize("known", [f'"{ETAG}"', f'W/"{ETAG}"', "*", f'"other", "{ETAG}"'])
async def test_a_known_blob_is_not_sent_again(known: str) -> None:
    response = await fetch(make_app(gone_at=0), if_none_match=known)
    assert response.status_code == 304
    assert response.content == b""
    assert response.headers["etag"] == f'"{ETAG}"'


@pytest.mark.parametrize("known", ['"other"', ETAG, f'"{ETAG}x"'])
async def test_an_unknown_blob_is_sent(known: str) -> None:
    assert (await fetch(make_app(), if_none_match=known)).content == BLOB


@pytest.mark.parametrize(
    ("condition", "status"),
    [(f'"{ETAG}"', 206), (f'W/"{ETAG}"', 200), ('"other"', 200), ("Sat, 29 Oct 1994 19:43:31 GMT", 200)],
)
async def test_a_download_resumes_only_into_the_same_blob(condition: str, status: int) -> None:
    assert (await fetch(make_app(), range="bytes=0-1", if_range=condition)).status_code == status


async def test_an_empty_blob_is_an_empty_answer() -> None:
    response = await fetch(make_app(b""), range="bytes=-5")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "0"


async def test_a_blob_that_is_gone_is_a_404() -> None:
    response = await fetch(make_app(gone_at=0))
    assert response.status_code == 404
    assert "tenants" not in response.text


async def test_a_blob_that_breaks_off_does_not_end_as_if_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "CHUNK_BYTES", 100)
    with pytest.raises(RuntimeError):
        await fetch(make_app(gone_at=300))


def download_name(header: str) -> str:
    """The name as RFC 6266 has clients read it: the extended one where there is one."""
    plain, _, extended = header.partition("; filename*=UTF-8''")
    return unquote(extended, errors="strict") if extended else plain.partition('filename="')[2].rstrip('"')


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("take 1.wav", "take 1.wav"),
        ("Прелюдия №1.flac", "Прелюдия №1.flac"),
        ("夜曲.mp3", "夜曲.mp3"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ('a"b;c.wav', 'a"b;c.wav'),
        ("x\r\nSet-Cookie: a=b.wav", "xSet-Cookie: a=b.wav"),
        ("gnp\u202e.wav", "gnp.wav"),
        ("", "download"),
        ("...", "download"),
    ],
)
def test_a_download_keeps_its_name_as_far_as_is_safe(filename: str, name: str) -> None:
    assert download_name(content_disposition(filename, "attachment")) == name


@given(st.text(max_size=400), st.sampled_from(["inline", "attachment"]))
def test_any_name_makes_one_ascii_header(filename: str, kind: Any) -> None:
    header = content_disposition(filename, kind)
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith(f'{kind}; filename="')
    assert header.count('"') == 2
    name = download_name(header)
    assert name
    assert len(name) <= 140
    assert not set(name) & set("/\\\r\n")
