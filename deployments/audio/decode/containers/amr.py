"""AMR and AMR-WB speech, as older phones record it. Source: RFC 4867, section 5."""

from __future__ import annotations

from typing import BinaryIO

from deployments.audio.decode.completeness import damaged, empty, is_tag_or_padding, size_of, truncated
from deployments.audio.decode.containers.layout import Layout, Span

_NARROW, _WIDE = b"#!AMR\n", b"#!AMR-WB\n"
_FRAME_BYTES = {
    _NARROW: {**dict(enumerate((13, 14, 16, 18, 20, 21, 27, 32, 6))), 15: 1},
    _WIDE: {**dict(enumerate((18, 24, 33, 37, 41, 47, 51, 59, 61, 6))), 14: 1, 15: 1},
}


def matches(head: bytes) -> bool:
    return head.startswith((_NARROW, _WIDE))


def examine(file: BinaryIO) -> Layout:
    """Raises BadAudio if the frames do not fill the file."""
    file_bytes = size_of(file)
    file.seek(0)
    data = file.read()
    magic = _WIDE if data.startswith(_WIDE) else _NARROW
    offset = len(magic)
    while offset < file_bytes:
        size = None if data[offset] & 0x83 else _FRAME_BYTES[magic].get(data[offset] >> 3 & 15)
        if size is None:
            if is_tag_or_padding(file, offset):
                break
            raise damaged("a part of it cannot be decoded")
        if offset + size > file_bytes:
            raise truncated("its last frame is incomplete")
        offset += size
    if offset == len(magic):
        raise empty()
    return Layout(parts=(Span(0, offset),))
