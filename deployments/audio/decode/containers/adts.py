"""Raw AAC, as frames in ADTS. Source: ISO/IEC 14496-3, 1.A.2."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import BinaryIO

from deployments.audio.decode.completeness import empty, truncated
from deployments.audio.decode.containers.frames import SEARCH_BYTES, Data, check_beginning, find_run, runs
from deployments.audio.decode.containers.layout import Layout, Span
from deployments.audio.decode.tags import skip_id3v2

_HEADER_BYTES = 7
_COMMON = b"\xff\xff\xfd\xc0"
"""Of a header: all bits up to the channels, but for the private one."""


@dataclass(frozen=True, slots=True)
class AdtsFrame:
    """`kind`: version, protection, profile, sample rate and channels, which no frame changes."""

    frame_bytes: int
    kind: bytes

    @staticmethod
    def parse(data: Data, offset: int = 0) -> AdtsFrame | None:
        head = data[offset : offset + _HEADER_BYTES]
        if len(head) < _HEADER_BYTES or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
            return None
        frame_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if frame_bytes <= _HEADER_BYTES:
            return None
        return AdtsFrame(frame_bytes, bytes((head[1], head[2] & 0xFD, head[3] & 0xC0)))


def matches(head: bytes) -> bool:
    return find_run(head, 0, AdtsFrame.parse, SEARCH_BYTES) is not None


def examine(file: BinaryIO) -> Layout:
    """Raises BadAudio if frames are missing in the middle or the last one is incomplete."""
    start = skip_id3v2(file)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first = find_run(data, start, AdtsFrame.parse, SEARCH_BYTES)
        if first is None:
            raise empty()
        check_beginning(data, start, first, _COMMON)
        found = list(
            runs(data, first, AdtsFrame.parse, begins_anew=lambda data, at: False, has_all=lambda run: False)
        )
    if found[-1].missing_bytes:
        raise truncated("its last frame is incomplete")
    return Layout(parts=tuple(Span(run.start, run.end) for run in found))
