"""Files that are nothing but frames, each with a header of a few bytes: MP3 and AAC in ADTS.

There is no header of the file: it is known by a run of frames, each of which begins where the last one ends.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from deployments.audio.decode.completeness import damaged
from deployments.audio.decode.tags import id3v2_bytes

RUN_FRAMES = 3
SEARCH_BYTES = 64 * 1024
"""A run begins within so many bytes: the rest of a frame, padding or the header of a radio stream come before."""

HEAD_BYTES = SEARCH_BYTES + 32 * 1024
"""So much of a file shows whether a run begins in `SEARCH_BYTES`: `RUN_FRAMES` of the largest frames fit in."""

_BETWEEN = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"\0\0\0\0", b"\xff\xff\xff\xff")
"""What may stand between two files that were joined: tags and padding."""

_LEAST_FRAME_BYTES = 4

Data = bytes | mmap.mmap


class Frame(Protocol):
    @property
    def frame_bytes(self) -> int: ...

    @property
    def kind(self) -> object:
        """What does not change within a run."""
        ...


ParseFrame = Callable[[Data, int], Frame | None]
"""The frame whose header is at an offset, or None."""


@dataclass(frozen=True, slots=True)
class Run:
    """`start` to `end` are `frames` whole frames; another may begin at `end` and lack `missing_bytes`."""

    start: int
    end: int
    frames: int
    missing_bytes: int


def find_run(data: Data, start: int, parse: ParseFrame, within: int | None = None) -> int | None:
    """Where the first run from `start` on begins, at most `within` bytes later.

    A run has `RUN_FRAMES` frames, or fewer where `data` ends: one at `start` itself, else two.
    """
    last = len(data) if within is None else min(len(data), start + within)
    offset = data.find(b"\xff", start, last)
    while offset >= 0:
        if _is_run(data, offset, parse, least=1 if offset == start else 2):
            return offset
        offset = data.find(b"\xff", offset + 1, last)
    return None


def _is_run(data: Data, offset: int, parse: ParseFrame, least: int) -> bool:
    kind: object = None
    for found in range(RUN_FRAMES):
        frame = parse(data, offset)
        if frame is None:
            return found >= least and len(data) - offset < 4
        if found and frame.kind != kind:
            return False
        kind = frame.kind
        offset += frame.frame_bytes
        if offset > len(data):
            return found >= least
    return True


def check_beginning(data: Data, start: int, first: int, mask: bytes) -> None:
    """Raises BadAudio (corrupt) if what stands between `start` and the first run begins with a damaged frame, and
    not with padding, another header or the rest of a frame. `mask`: the bits that all headers have in common.
    """
    before = data[start : min(first, start + len(mask))]
    if len(before) < len(mask) or before in (b"\xff" * len(mask), bytes(len(mask))):
        return
    changed = sum(((before[at] ^ data[first + at]) & bits).bit_count() for at, bits in enumerate(mask))
    if changed <= 1:
        raise damaged("its first part cannot be decoded")


def runs(
    data: Data,
    start: int,
    parse: ParseFrame,
    begins_anew: Callable[[Data, int], bool],
    has_all: Callable[[Run], bool],
) -> Iterator[Run]:
    """All runs from the one at `start` on. A frame that `begins_anew` is the first of another run.

    Between and after runs there may be tags and padding. Raises BadAudio (corrupt) where there is something else,
    but behind a run that is known to be whole (`has_all`).
    """
    offset: int | None = start
    while offset is not None:
        run = _read_run(data, offset, parse, begins_anew)
        yield run
        if run.missing_bytes or run.end >= len(data):
            return
        after = run.end + id3v2_bytes(data[run.end : run.end + 10])
        offset = find_run(data, after, parse)
        if offset != run.end and not data[run.end : run.end + 16].startswith(_BETWEEN):
            if offset is not None:
                raise damaged("a part of it cannot be decoded")
            if not has_all(run) and len(data) - run.end >= _LEAST_FRAME_BYTES:
                raise damaged("its end cannot be decoded")


def _read_run(data: Data, start: int, parse: ParseFrame, begins_anew: Callable[[Data, int], bool]) -> Run:
    end, frames = start, 0
    kind: object = None
    while (frame := parse(data, end)) is not None:
        if frames and (frame.kind != kind or begins_anew(data, end)):
            break
        if end + frame.frame_bytes > len(data):
            return Run(start, end, frames, end + frame.frame_bytes - len(data))
        kind = frame.kind
        end += frame.frame_bytes
        frames += 1
    return Run(start, end, frames, 0)
