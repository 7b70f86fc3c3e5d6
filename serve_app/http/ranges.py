"""Blobs over HTTP: one byte range (RFC 9110 section 14), validators, download names.

A blob never changes under its ETag, so the ETag is strong: the quoted SHA-256 of its bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Final, Literal
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from serve_app.http.problems import RangeNotSatisfiable

IMMUTABLE: Final = "private, max-age=31536000, immutable"
"""For URLs that name their content: another content has another URL."""
REVALIDATED: Final = "private, no-cache"
"""May be kept, and is asked for again each time, with its ETag."""

CHUNK_BYTES: Final = 1024 * 1024
MAX_STEM_CHARS: Final = 120
MAX_SUFFIX_CHARS: Final = 12

_SINGLE_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", re.IGNORECASE)
_ETAG = re.compile(r'(?:W/)?("[^"]*")')

Read = Callable[[int, int], Awaitable[bytes]]
"""`read(start, length)` gives exactly those bytes of the blob."""

Content = Callable[[int, int], Awaitable[AsyncIterator[bytes]]]
"""`content(start, length)` gives exactly those bytes in pieces, the first of which has been read."""

Link = Callable[[str], Awaitable[str | None]]
"""`link(content_disposition)` gives a URL that answers with the same bytes, or None if there is none."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes (at least one) from `start`."""

    start: int
    length: int

    @property
    def last(self) -> int:
        return self.start + self.length - 1


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The one range that a Range header asks for of `size` bytes.

    None means send all: no header, another unit, several ranges, or nothing that can be understood.
    Raises RangeNotSatisfiable for a range without a single byte in it.
    """
    match = _SINGLE_RANGE.fullmatch(header or "")
    if match is None:
        return None
    first, last = _number(match[1]), _number(match[2])
    if first is None:
        if last is None or (size == 0 and last > 0):
            return None
        if last == 0:
            raise RangeNotSatisfiable(size)
        return ByteRange(max(0, size - last), min(last, size))
    if last is not None and last < first:
        return None
    if first >= size:
        raise RangeNotSatisfiable(size)
    return ByteRange(first, min(size if last is None else last + 1, size) - first)


def _number(digits: str) -> int | None:
    # No blob has 10^19 bytes, and Python refuses to read numbers of thousands of digits.
    return int(digits.lstrip("0")[:20] or "0") if digits else None


async def blob_response(
    request: Request,
    *,
    size: int,
    etag: str,
    media_type: str,
    filename: str,
    read: Read,
    link: Link | None = None,
    cache_control: str = REVALIDATED,
    extra_headers: Mapping[str, str] | None = None,
    disposition: Literal["inline", "attachment"] = "attachment",
) -> Response:
    """`ranged_response` for a blob, of which 1 MiB is read at a time."""
    return await ranged_response(
        request,
        size=size,
        etag=etag,
        media_type=media_type,
        filename=filename,
        content=lambda start, length: _stream(read, start, length),
        link=link,
        cache_control=cache_control,
        extra_headers=extra_headers,
        disposition=disposition,
    )


async def ranged_response(
    request: Request,
    *,
    size: int,
    etag: str,
    media_type: str,
    filename: str,
    content: Content,
    link: Link | None = None,
    cache_control: str = REVALIDATED,
    extra_headers: Mapping[str, str] | None = None,
    disposition: Literal["inline", "attachment"] = "attachment",
) -> Response:
    """Answer GET or HEAD for `size` bytes whose SHA-256 is `etag`: 200, 206, 304 or a 416 problem, or 307 to where
    `link` leads. A client follows with the Range header that it came with. Another method, whose answer happens to
    be these bytes, gets all of them: Range and If-None-Match are defined for GET.

    The first piece is read before the answer begins, so a blob that is gone, or a store that is down, is still an
    error answer; later failures break the connection, which the client notices by Content-Length.
    """
    tag = f'"{etag}"'
    headers = {"ETag": tag, "Cache-Control": cache_control, "Accept-Ranges": "bytes", **(extra_headers or {})}
    if request.method in ("GET", "HEAD") and _is_unchanged(request.headers.get("if-none-match"), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers["Content-Disposition"] = content_disposition(filename, disposition)
    # A link is for GET alone: its signature covers the method, and a POST must not be repeated elsewhere.
    location = await link(headers["Content-Disposition"]) if link and request.method == "GET" else None
    if location is not None:
        # The link expires, so the redirection is good for this one time.
        return RedirectResponse(
            location, HTTPStatus.TEMPORARY_REDIRECT, headers={"Cache-Control": "no-store"}
        )
    headers["Content-Length"] = str(size)
    if request.method == "HEAD":  # Range is defined for GET alone
        return Response(headers=headers, media_type=media_type)

    part = None
    if request.method == "GET" and request.headers.get("if-range", tag) == tag:
        part = parse_range(request.headers.get("range"), size)
    if part is None:
        return StreamingResponse(await content(0, size), headers=headers, media_type=media_type)
    headers["Content-Length"] = str(part.length)
    headers["Content-Range"] = f"bytes {part.start}-{part.last}/{size}"
    pieces = await content(part.start, part.length)
    return StreamingResponse(pieces, HTTPStatus.PARTIAL_CONTENT, headers=headers, media_type=media_type)


def _is_unchanged(if_none_match: str | None, tag: str) -> bool:
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _ETAG.findall(if_none_match)


async def _stream(read: Read, start: int, length: int) -> AsyncIterator[bytes]:
    """The bytes in chunks; the first is read before this returns."""
    head = await _exactly(read, start, min(CHUNK_BYTES, length))

    async def chunks() -> AsyncIterator[bytes]:
        yield head
        for offset in range(len(head), length, CHUNK_BYTES):
            yield await _exactly(read, start + offset, min(CHUNK_BYTES, length - offset))

    return chunks()


async def _exactly(read: Read, start: int, length: int) -> bytes:
    data = await read(start, length) if length else b""
    if len(data) != length:
        raise EOFError(f"{len(data)} of {length} bytes from {start}")
    return data


def content_disposition(filename: str, kind: Literal["inline", "attachment"]) -> str:
    """The header for a download under that name (RFC 6266): an ASCII name for all, the true one in UTF-8."""
    name = _safe_name(filename)
    ascii_name = "".join(c if c.isascii() and (c.isalnum() or c in " ._-()") else "_" for c in name)
    header = f'{kind}; filename="{ascii_name}"'
    return header if ascii_name == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


def _safe_name(filename: str) -> str:
    """A bare file name: no folders, no control or direction-changing characters, of bounded length."""
    bare = re.sub(r"[/\\]", "_", filename)
    bare = "".join(c for c in bare if not unicodedata.category(c).startswith("C")).strip(" .")
    path = PurePosixPath(bare or "download")
    return path.stem[:MAX_STEM_CHARS] + path.suffix[:MAX_SUFFIX_CHARS]
