"""MP4 and its kin: M4A, M4B, MOV, 3GP, and fragmented MP4 as browsers record it. Source: ISO/IEC 14496-12.

Brands are not looked at: makers of phones invent new ones. What is in the file is told by its boxes.
"""

from __future__ import annotations

from typing import BinaryIO

from deployments.audio.decode.completeness import (
    Part,
    damaged,
    is_tag_or_padding,
    parts_from,
    plural,
    size_of,
    truncated,
)
from deployments.audio.decode.containers.layout import Layout, Span

_HEADER_BYTES = 8
_OPENING = frozenset(b"ftyp moov mdat free skip wide pnot uuid styp moof".split())
_KNOWN = _OPENING | frozenset(b"mfra meta udta sidx ssix emsg prft pdin prfa".split())

_PICTURES = frozenset(b"heic heix heim heis hevc hevx mif1 msf1 avif avis".split())


def matches(head: bytes) -> bool:
    """A first box of less than 512 MiB: text that has such a word in its place begins with larger numbers."""
    if head[4:8] == b"ftyp" and head[8:12] in _PICTURES:
        return False
    return head[4:8] in _OPENING and head[0] < 0x20 and _announced(head[:16], 0, 2**63) is not None


def examine(file: BinaryIO) -> Layout:
    """`moov` says what is where in `mdat`; either may come first. In fragments each `moof` says it of its `mdat`.

    Raises BadAudio for a box that is cut off or missing.
    """
    file_bytes = size_of(file)
    seen: set[bytes] = set()
    sequence, end = None, 0
    for box in parts_from(file, 0, _read_part, align=1):
        if box.name not in _KNOWN:
            break
        if missing := box.missing(file_bytes):
            raise truncated(f"{plural(missing, 'byte')} of its {box.name.decode('ascii')} part are missing")
        if box.name == b"moof":
            sequence = _next_in_sequence(file, box, sequence)
        seen.add(box.name)
        end = box.end
    if b"moof" in seen and end < file_bytes and not is_tag_or_padding(file, end):
        if file_bytes - end < _HEADER_BYTES:
            raise truncated("its last part is incomplete")
        raise damaged("a part of it cannot be decoded")
    if end == file_bytes and not seen >= {b"moov", b"mdat"}:
        raise truncated("one of its parts moov and mdat is missing")
    return Layout(parts=(Span(0, file_bytes),))


def _next_in_sequence(file: BinaryIO, moof: Part, last: int | None) -> int | None:
    """The number of a fragment. Raises BadAudio (corrupt) if one is missing before it."""
    for box in parts_from(file, moof.start, _read_part, align=1):
        if box.end > moof.end:
            break
        if box.name == b"mfhd":
            file.seek(box.start + 4)
            number = int.from_bytes(file.read(4), "big")
            if last is not None and number > last + 1:
                raise damaged("a part of it is missing")
            return number
    return last


def _read_part(file: BinaryIO, offset: int) -> Part | None:
    file_bytes = size_of(file)
    file.seek(offset)
    head = file.read(16)
    return _announced(head, offset, file_bytes)


def _announced(head: bytes, offset: int, file_bytes: int) -> Part | None:
    if len(head) < _HEADER_BYTES:
        return None
    size, header_bytes = int.from_bytes(head[:4], "big"), 8
    if size == 1 and len(head) == 16:
        size, header_bytes = int.from_bytes(head[8:], "big"), 16
    elif size == 0:  # up to the end of the file
        size = file_bytes - offset
    if size < header_bytes:
        return None
    return Part(head[4:8], offset + header_bytes, size - header_bytes)
