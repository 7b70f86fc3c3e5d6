"""Ogg (RFC 3533): pages with checksums, in one or more links, each a file of its own.

A file made of several by appending them is a chain of links. Each has its own codec headers and its own clock,
so each is decoded as a file of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from deployments.audio.decode.completeness import damaged, is_tag_or_padding, size_of, truncated
from deployments.audio.decode.containers.layout import Layout, Span

_CAPTURE = b"OggS\0"
_HEADER_BYTES = 27
_CONTINUED, _FIRST, _LAST = 0x01, 0x02, 0x04
_SEARCH_BYTES = 1024 * 1024
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def matches(head: bytes) -> bool:
    return head.startswith(_CAPTURE) and len(head) > _HEADER_BYTES and bool(head[5] & _FIRST)


def examine(file: BinaryIO) -> Layout:
    """Every page is checked. A stream need not have a page that says that it is the last: some phones write none.

    Raises BadAudio for a page that is missing, damaged or incomplete.
    """
    links: list[_Link] = []
    for page in _pages(file):
        if page.is_first and (not links or links[-1].has_begun):
            links.append(_Link(page.start))
        if not links:
            raise damaged("its beginning is missing")
        links[-1].add(page)
    if not links:
        raise truncated("it ends before its audio begins")
    last = links[-1]
    if not last.has_begun or last.has_open_packet:
        raise truncated("its last page is incomplete")
    return Layout(parts=tuple(Span(link.start, link.end) for link in links))


@dataclass(frozen=True, slots=True)
class _Page:
    start: int
    end: int
    flags: int
    serial: int
    number: int
    has_body: bool
    has_audio: bool
    ends_in_packet: bool

    @property
    def is_first(self) -> bool:
        return bool(self.flags & _FIRST)


@dataclass(slots=True)
class _Stream:
    number: int
    is_in_audio: bool
    has_open_packet: bool


@dataclass(slots=True)
class _Link:
    """Its streams all begin before any of them goes on."""

    start: int
    end: int = 0
    has_begun: bool = False
    streams: dict[int, _Stream] = field(default_factory=dict)

    @property
    def has_open_packet(self) -> bool:
        return any(stream.has_open_packet for stream in self.streams.values())

    def add(self, page: _Page) -> None:
        """Raises BadAudio if a page before this one is missing.

        Between the headers and the audio pages may be missing: who records a radio stream comes in later.
        """
        stream = self.streams.get(page.serial)
        if stream is None:
            if not page.is_first:
                raise damaged("a part of it is missing")
        else:
            follows = page.number == (stream.number + 1) % 2**32
            if not follows and (stream.is_in_audio or stream.has_open_packet):
                raise damaged("a part of it is missing")
            if stream.has_open_packet and not page.flags & _CONTINUED:
                raise damaged("a part of it is missing")
        self.has_begun = self.has_begun or not page.is_first
        if page.has_body or not page.has_audio:  # an empty last page is a packet of nothing to decoders
            self.end = page.end
        self.streams[page.serial] = _Stream(page.number, page.has_audio, page.ends_in_packet)


def _pages(file: BinaryIO) -> Iterator[_Page]:
    """All pages. Padding and tags at the end are no part of the file; anything else that is no page is damage."""
    file_bytes = size_of(file)
    offset, has_ended = 0, False
    while offset < file_bytes:
        file.seek(offset)
        head = file.read(_HEADER_BYTES)
        if not head.startswith(_CAPTURE):
            if is_tag_or_padding(file, offset):
                return
            if has_ended and not _finds_page(file, offset):
                return
            if _CAPTURE.startswith(head):
                raise truncated("its last page is incomplete")
            raise damaged("a part of it cannot be decoded")
        lacing = file.read(head[26]) if len(head) == _HEADER_BYTES else b""
        body_bytes = sum(lacing)
        body = file.read(body_bytes)
        if len(head) < _HEADER_BYTES or len(lacing) < head[26] or len(body) < body_bytes:
            if len(head) == _HEADER_BYTES and _finds_page(file, offset + 1):
                raise damaged("a part of it cannot be decoded")
            raise truncated("its last page is incomplete")
        if _crc(head[:22] + bytes(4) + head[26:] + lacing + body) != int.from_bytes(head[22:26], "little"):
            raise damaged("a part of it cannot be decoded")
        granule = int.from_bytes(head[6:14], "little", signed=True)
        end = offset + _HEADER_BYTES + len(lacing) + body_bytes
        has_ended = bool(head[5] & _LAST)
        yield _Page(
            start=offset,
            end=end,
            flags=head[5],
            serial=int.from_bytes(head[14:18], "little"),
            number=int.from_bytes(head[18:22], "little"),
            has_body=body_bytes > 0,
            has_audio=granule > 0,
            ends_in_packet=bool(lacing) and lacing[-1] == 255,
        )
        offset = end


def _finds_page(file: BinaryIO, offset: int) -> bool:
    """Whether a page begins anywhere from `offset` on."""
    file.seek(offset)
    kept = b""
    while data := file.read(_SEARCH_BYTES):
        if _CAPTURE in kept + data:
            return True
        kept = data[-len(_CAPTURE) + 1 :]
    return False


def _crc(data: bytes) -> int:
    """CRC-32 with the polynomial 04C11DB7, from 0, most significant bit first: zlib's with all bits reversed."""
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{reflected:032b}"[::-1], 2)
