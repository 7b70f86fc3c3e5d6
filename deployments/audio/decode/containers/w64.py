"""Sony Wave64: WAV with GUIDs for names and sizes of 64 bits, which count the chunk's own header."""

from __future__ import annotations

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
from deployments.audio.decode.containers.layout import Layout
from deployments.audio.decode.containers.wave_format import WaveFormat

_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_HEADER_BYTES = 24
_ALIGN = 8
_FIRST_CHUNK = 40


def matches(head: bytes) -> bool:
    return head.startswith(_RIFF) and head[24:40] == b"wave" + _TAIL


def examine(file: BinaryIO) -> Layout:
    """Raises BadAudio for a file that is cut off, or whose header contradicts itself or the file."""
    file_bytes = size_of(file)
    sound: WaveFormat | None = None
    fact_samples = 0
    for chunk in parts_from(file, _FIRST_CHUNK, _read_part, _ALIGN):
        file.seek(chunk.start)
        match chunk.name:
            case b"fmt ":
                sound = WaveFormat.parse(file.read(min(chunk.size, 1024)), "<")
            case b"fact":
                fact_samples = int.from_bytes(file.read(8), "little")
            case b"data" if sound is not None:
                check_announced(chunk, file_bytes, sound.slack_bytes(chunk.start))
                end = file_bytes
                if chunk.end < file_bytes:
                    end = check_tail(file, chunk.end, _read_part, _ALIGN, frozenset())
                return sound.layout(chunk.start, min(chunk.end, file_bytes), end, fact_samples)
            case b"data":
                raise damaged("it says nothing about its audio")
    raise truncated("it ends before its audio begins")


def _read_part(file: BinaryIO, offset: int) -> Part | None:
    """A chunk under the short name of its GUID; None where there is none."""
    file.seek(offset)
    head = file.read(_HEADER_BYTES)
    size = int.from_bytes(head[16:], "little") - _HEADER_BYTES
    if len(head) < _HEADER_BYTES or size < 0:
        return None
    return Part(head[:4], offset + _HEADER_BYTES, size)
