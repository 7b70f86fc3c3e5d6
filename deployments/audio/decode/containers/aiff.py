"""AIFF and AIFF-C. Source: Apple, "Audio Interchange File Format", 1.3 and AIFF-C draft."""

from __future__ import annotations

import struct
from typing import BinaryIO

from deployments.audio.decode.completeness import (
    SLACK_S,
    STREAMED_FROM,
    Part,
    check_announced,
    check_tail,
    damaged,
    parts_from,
    size_of,
    truncated,
)
from deployments.audio.decode.containers.layout import Layout, Span

_FIRST_CHUNK = 12
_SSND_HEADER_BYTES = 8
_SAMPLE_BYTES = {
    b"fl32": 4,
    b"FL32": 4,
    b"fl64": 8,
    b"FL64": 8,
    b"alaw": 1,
    b"ALAW": 1,
    b"ulaw": 1,
    b"ULAW": 1,
}
_INTEGERS = (b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"24ni", b"23ni")
_KNOWN = frozenset(
    b"NAME,AUTH,(c) ,ANNO,MARK,INST,MIDI,AESD,APPL,COMT,COMM,FVER,CHAN,ID3 ,id3 ,basc,trns,cate,LOOP".split(
        b","
    )
)


def matches(head: bytes) -> bool:
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


def examine(file: BinaryIO) -> Layout:
    """Raises BadAudio for a file that is cut off, or whose header contradicts the file."""
    file_bytes = size_of(file)
    frame_bytes, frames, slack_bytes = 0, 0, 0
    for chunk in parts_from(file, _FIRST_CHUNK, _read_part, align=2):
        file.seek(chunk.start)
        if chunk.name == b"COMM":
            frame_bytes, frames, slack_bytes = _common(file.read(min(chunk.size, 64)))
        elif chunk.name == b"SSND":
            break
        elif not chunk.name.isascii():
            raise truncated("it ends before its audio begins")
    else:
        raise truncated("it ends before its audio begins")
    whole = Span(0, file_bytes)
    if chunk.size >= STREAMED_FROM or chunk.size == 0:
        return Layout(parts=(whole,))
    check_announced(chunk, file_bytes, slack_bytes)
    if chunk.end < file_bytes:
        whole = Span(0, check_tail(file, chunk.end, _read_part, 2, _KNOWN))
    if frame_bytes and frames:
        held = (chunk.size - _SSND_HEADER_BYTES) // frame_bytes
        if held != frames:
            raise damaged(f"it says that it has {frames} samples, and that it has room for {held}")
    return Layout(parts=(whole,))


def _common(data: bytes) -> tuple[int, int, int]:
    """(bytes of one sample of all channels, 0 where samples have no size of their own; the number of samples;
    the bytes that may be missing)."""
    if len(data) < 18:
        raise damaged("its header is too short")
    channels, frames, bits = struct.unpack_from(">hIh", data)
    exponent, mantissa = struct.unpack_from(">HI", data, 8)  # the rate, as a float of 80 bits
    rate_hz = mantissa * 2.0 ** (min(exponent & 0x7FFF, 16383 + 24) - 16383 - 31)
    kind = data[18:22] or b"NONE"
    sample_bytes = -(-bits // 8) if kind in _INTEGERS else _SAMPLE_BYTES.get(kind, 0)
    frame_bytes = max(0, channels * sample_bytes)
    return frame_bytes, frames, min(54, int(SLACK_S * rate_hz) * frame_bytes)


def _read_part(file: BinaryIO, offset: int) -> Part | None:
    file.seek(offset)
    head = file.read(8)
    if len(head) < 8:
        return None
    return Part(head[:4], offset + 8, int.from_bytes(head[4:], "big"))
