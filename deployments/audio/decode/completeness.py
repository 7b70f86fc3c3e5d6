"""Whether a file is as long as its own headers say.

Decoders make what they can of a file that was cut off; a musician would get half a song without a word. Sizes
that a writer could not know when it wrote to a pipe (0, or about the largest number) claim nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from deployments.audio.decode.errors import BadAudio, BadAudioCode
from deployments.audio.decode.mp3_frames import count_frames
from deployments.audio.decode.sniff import Container

_STREAMED_FROM = 0x7FFF_F000
"""A RIFF size from here on was written to a pipe (2 GiB less a block by sox, all ones by ffmpeg)."""

_OGG_PAGE_MAX_BYTES = 27 + 255 + 255 * 255
_OGG_LAST_PAGE = 0x04
_OGG_TAIL_BYTES = 2 * _OGG_PAGE_MAX_BYTES

_MP3_FRAMES_SLACK = 2
_MP3_BYTES_SLACK = 16

_MP4_BOXES = frozenset(
    b"ftyp moov mdat moof mfra free skip wide uuid meta udta sidx styp emsg prft pdin".split(),
)


def check_complete(file: BinaryIO, container: Container) -> None:
    """Raises BadAudio (truncated) if the end of the file is missing. Says nothing about FLAC, whose length
    shows only when it is decoded."""
    match container:
        case Container.WAV:
            _check_chunks(file, "little", b"data")
        case Container.AIFF:
            _check_chunks(file, "big", b"SSND")
        case Container.M4A:
            _check_boxes(file)
        case Container.OGG:
            _check_last_page(file)
        case Container.MP3:
            _check_frames(file)
        case Container.FLAC:
            pass


def truncated(detail: str) -> BadAudio:
    return BadAudio(BadAudioCode.TRUNCATED, f"the file is cut off: {detail}")


@dataclass(frozen=True, slots=True)
class _Part:
    """A chunk (RIFF, IFF) or box (MP4): its name, where its content begins and how long it says it is."""

    name: bytes
    start: int
    size: int

    def overrun(self, file_bytes: int) -> int:
        return max(0, self.start + self.size - file_bytes)


def _check_chunks(file: BinaryIO, order: Literal["little", "big"], audio_chunk: bytes) -> None:
    file_bytes = _size_of(file)
    wide_size: int | None = None
    for chunk in _chunks(file, order):
        if chunk.name == b"ds64":  # RF64 (EBU Tech 3306): the real sizes, 64 bits each: RIFF, data, samples
            file.seek(chunk.start + 8)
            wide_size = int.from_bytes(file.read(8), "little")
        if chunk.name == audio_chunk:
            if wide_size is not None:
                chunk = _Part(chunk.name, chunk.start, wide_size)
            elif chunk.size == 0 or chunk.size >= _STREAMED_FROM:
                return
            if missing := chunk.overrun(file_bytes):
                raise truncated(f"{missing} bytes are missing of the {chunk.size} that its header announces")
            return
        if not chunk.name.isascii():
            return  # no chunk at all: the decoder will say so
    raise truncated("it ends before its audio begins")


def _chunks(file: BinaryIO, order: Literal["little", "big"]) -> Iterator[_Part]:
    offset = 12
    while True:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return
        chunk = _Part(head[:4], offset + 8, int.from_bytes(head[4:], order))
        yield chunk
        offset = chunk.start + chunk.size + chunk.size % 2


def _check_boxes(file: BinaryIO) -> None:
    """ISO/IEC 14496-12: `moov` says what is where in `mdat`; either may come first."""
    file_bytes = _size_of(file)
    seen: set[bytes] = set()
    end = 0
    for box in _boxes(file, file_bytes):
        if missing := box.overrun(file_bytes):
            raise truncated(f"{missing} bytes are missing of its {box.name.decode('ascii')} part")
        seen.add(box.name)
        end = box.start + box.size
    if end == file_bytes and not seen >= {b"moov", b"mdat"}:
        raise truncated("one of its parts moov and mdat is missing")


def _boxes(file: BinaryIO, file_bytes: int) -> Iterator[_Part]:
    """Up to the first thing that is no box of the top level: a tag that some tool has put at the end."""
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(16)
        if len(head) < 8 or head[4:8] not in _MP4_BOXES:
            return
        size, header_bytes = int.from_bytes(head[:4], "big"), 8
        if size == 1 and len(head) == 16:
            size, header_bytes = int.from_bytes(head[8:], "big"), 16
        elif size == 0:
            size = file_bytes - offset
        if size < header_bytes:
            return
        yield _Part(head[4:8], offset + header_bytes, size - header_bytes)
        offset += size


def _check_last_page(file: BinaryIO) -> None:
    """RFC 3533: the last page of a stream says that it is the last."""
    file_bytes = _size_of(file)
    tail_start = max(0, file_bytes - _OGG_TAIL_BYTES)
    file.seek(tail_start)
    tail = file.read()
    last = tail.rfind(b"OggS\0")
    page = tail[last:] if last >= 0 else b""
    if len(page) < 27 or len(page) < 27 + page[26]:
        raise truncated("its last page is incomplete")
    if len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        raise truncated("its last page is incomplete")
    if not page[5] & _OGG_LAST_PAGE:
        raise truncated("the end of its stream is missing")


def _check_frames(file: BinaryIO) -> None:
    count = count_frames(file)
    if count.declared is not None:
        if count.whole < count.declared - _MP3_FRAMES_SLACK:
            raise truncated(f"it has {count.whole} of the {count.declared} frames that its header announces")
    elif count.missing_bytes > _MP3_BYTES_SLACK:
        raise truncated("its last frame is incomplete")


def _size_of(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
