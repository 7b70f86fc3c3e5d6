"""What the formats' checks of completeness share.

Decoders make what they can of a file that was cut off; a musician would get half a song without a word. Sizes
that a writer could not know when it wrote to a pipe (0, or about the largest number) claim nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from deployments.audio.decode.errors import BadAudio, BadAudioCode
from deployments.audio.decode.tags import is_tag

STREAMED_FROM = 0x7FFF_F000
"""A RIFF or IFF size from here on was written to a pipe (2 GiB less a block by sox, all ones by ffmpeg)."""

SLACK_S = 0.1
"""The most audio that a header may announce in excess: writers that count the header's own bytes as audio."""

_SEARCH_BYTES = 64 * 1024


def truncated(detail: str) -> BadAudio:
    return BadAudio(BadAudioCode.TRUNCATED, f"the file is cut off: {detail}")


def damaged(detail: str) -> BadAudio:
    return BadAudio(BadAudioCode.CORRUPT, f"the file is damaged: {detail}")


def empty() -> BadAudio:
    return BadAudio(BadAudioCode.EMPTY, "the file has no audio in it")


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size_of(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


@dataclass(frozen=True, slots=True)
class Part:
    """A chunk (RIFF, IFF, CAF, W64) or box (MP4): its name, where its content begins and its announced size."""

    name: bytes
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size

    def missing(self, file_bytes: int) -> int:
        """How many of its bytes are beyond the end of the file."""
        return max(0, self.end - file_bytes)


ReadPart = Callable[[BinaryIO, int], Part | None]
"""The part whose header is at an offset; None where there is no room for a header."""


def parts_from(file: BinaryIO, offset: int, read_part: ReadPart, align: int) -> Iterator[Part]:
    """The parts from `offset` on; each begins at a multiple of `align` bytes."""
    while (part := read_part(file, offset)) is not None:
        yield part
        offset = part.end + -part.end % align


def check_announced(part: Part, file_bytes: int, slack_bytes: int) -> None:
    """Raises BadAudio (truncated) if more than `slack_bytes` of the audio that is announced are missing."""
    missing = part.missing(file_bytes)
    if missing > slack_bytes:
        raise truncated(f"{plural(missing, 'byte')} of {part.size} that its header announces are missing")


def check_tail(file: BinaryIO, end: int, read_part: ReadPart, align: int, known: frozenset[bytes]) -> int:
    """Where the chunks after the audio, which ends at `end`, end themselves: before a tag or padding.

    Raises BadAudio (corrupt) if something else follows: a header that announces too little would drop the rest of
    the audio in silence.

    Some writers leave out the byte that aligns the next chunk. A chunk of a `known` name may itself be cut off.
    """
    file_bytes = size_of(file)
    for offset in (end + -end % align, end):
        tiled = _end_of_parts(file, file_bytes, offset, read_part, align, known)
        if tiled is not None:
            return min(tiled, file_bytes)
    raise damaged("its header says that its audio ends in the middle of the file")


def _end_of_parts(
    file: BinaryIO, file_bytes: int, offset: int, read_part: ReadPart, align: int, known: frozenset[bytes]
) -> int | None:
    while not is_tag_or_padding(file, offset):
        part = read_part(file, offset)
        if part is None or not _is_name(part.name):
            return None
        if part.missing(file_bytes):
            return file_bytes if part.name in known else None
        offset = part.end + -part.end % align
    return offset


def _is_name(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def is_tag_or_padding(file: BinaryIO, offset: int) -> bool:
    """Whether the file ends at `offset`, or goes on with nothing but zeros, or with a tag that music players
    append."""
    file.seek(offset)
    head = file.read(_SEARCH_BYTES)
    while head and not head.strip(b"\0"):
        head = file.read(_SEARCH_BYTES)
    return is_tag(head)
