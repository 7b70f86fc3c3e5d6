"""Tags that music players put before a file (ID3v2) and behind it.

Source: id3.org, "ID3 tag version 2.4.0 - Main Structure".
"""

from __future__ import annotations

from typing import BinaryIO

_HEADER_BYTES = 10
_HAS_FOOTER = 0x10
_MAX_TAGS = 8
_MAX_PADDING_BYTES = 4096


_APPENDED = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"3DI")


def is_tag(data: bytes) -> bool:
    """Whether nothing follows but zeros, or a tag that music players put behind a file, after zeros or at once."""
    rest = data.lstrip(b"\0")
    return not rest or rest.startswith(_APPENDED)


def id3v2_bytes(head: bytes) -> int:
    """The length of the ID3v2 tag that `head` (at least 10 bytes) begins with; 0 where there is none."""
    if len(head) < _HEADER_BYTES or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return _HEADER_BYTES * (2 if head[5] & _HAS_FOOTER else 1) + size


def skip_id3v2(file: BinaryIO) -> int:
    """The offset after the ID3v2 tags at the start of the file, and after the zeros that pad them."""
    offset = 0
    for _ in range(_MAX_TAGS):
        file.seek(offset)
        tag_bytes = id3v2_bytes(file.read(_HEADER_BYTES))
        if not tag_bytes:
            break
        offset += tag_bytes
    if offset:
        file.seek(offset)
        padded = file.read(_MAX_PADDING_BYTES)
        offset += len(padded) - len(padded.lstrip(b"\0"))
    return offset
