"""Apple's Core Audio Format, which phones and GarageBand record.

Source: Apple, "Core Audio Format Specification 1.0".
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from deployments.audio.decode.completeness import (
    Part,
    check_announced,
    check_tail,
    damaged,
    parts_from,
    size_of,
    truncated,
)
from deployments.audio.decode.containers.layout import Layout, PcmCoding, PcmLayout, Span

_FIRST_CHUNK = 8
_EDIT_COUNT_BYTES = 4
_DESCRIPTION = struct.Struct(">d4sIIIII")
_IS_FLOAT, _IS_LITTLE_ENDIAN = 1, 2
_TO_END_OF_FILE = 2**64 - 1
_KNOWN = frozenset(b"chan,info,mark,midi,ovvw,pakt,peak,regn,strg,umid,uuid,free,kuki,edct,inst".split(b","))


def matches(head: bytes) -> bool:
    return head[:4] == b"caff" and head[4:6] == b"\0\1"


def examine(file: BinaryIO) -> Layout:
    """Raises BadAudio for a file that is cut off, or whose header contradicts itself or the file."""
    file_bytes = size_of(file)
    description = b""
    for chunk in parts_from(file, _FIRST_CHUNK, _read_part, align=1):
        file.seek(chunk.start)
        if chunk.name == b"desc":
            description = file.read(_DESCRIPTION.size)
        elif chunk.name == b"data":
            break
    else:
        raise truncated("it ends before its audio begins")
    if len(description) < _DESCRIPTION.size:
        raise damaged("it says nothing about its audio")
    data = chunk
    if chunk.size == _TO_END_OF_FILE:
        data = Part(chunk.name, chunk.start, file_bytes - chunk.start)
    check_announced(data, file_bytes, slack_bytes=0)
    if data.end < file_bytes:
        file_bytes = check_tail(file, data.end, _read_part, 1, _KNOWN)
    if description[8:12] == b"alac":
        samples = _valid_samples(file, file_bytes)
        return Layout(parts=(Span(0, file_bytes),), least_samples=samples, exact_samples=samples)
    return _layout(description, Span(data.start + _EDIT_COUNT_BYTES, data.end), file_bytes)


def _valid_samples(file: BinaryIO, file_bytes: int) -> int | None:
    """How many samples the packets hold without padding, by the packet table; None where it does not say."""
    for chunk in parts_from(file, _FIRST_CHUNK, _read_part, align=1):
        if chunk.start >= file_bytes:
            break
        if chunk.name == b"pakt":
            file.seek(chunk.start + 8)
            return int.from_bytes(file.read(8), "big") or None
    return None


def _layout(description: bytes, audio: Span, file_bytes: int) -> Layout:
    rate_hz, kind, flags, packet_bytes, packet_frames, channels, bits = _DESCRIPTION.unpack(description)
    if kind != b"lpcm":
        return Layout(parts=(Span(0, file_bytes),))
    if not channels or packet_frames != 1 or not 0 < rate_hz < 2**31:
        raise damaged("its header names no channels, no sample rate or no size of a sample")
    width_bytes, remainder = divmod(packet_bytes, channels)
    is_float = bool(flags & _IS_FLOAT)
    widths = (4, 8) if is_float else (1, 2, 3, 4, 8)
    fits = bits == 8 * width_bytes if is_float else 0 < bits <= 8 * width_bytes
    if remainder or width_bytes not in widths or not fits:
        raise damaged("its header contradicts itself about the size of a sample")
    return Layout(
        pcm=PcmLayout(
            span=audio,
            rate_hz=round(rate_hz),
            channels=channels,
            width_bytes=width_bytes,
            coding=PcmCoding.FLOAT if is_float else PcmCoding.SIGNED,
            byte_order="<" if flags & _IS_LITTLE_ENDIAN else ">",
        )
    )


def _read_part(file: BinaryIO, offset: int) -> Part | None:
    file.seek(offset)
    head = file.read(12)
    if len(head) < 12:
        return None
    return Part(head[:4], offset + 12, int.from_bytes(head[4:], "big"))
