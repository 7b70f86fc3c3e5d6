"""A ZIP file that is made while it is sent: one piece of one file in memory at a time."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

LONGEST_BYTES = zipfile.ZIP64_LIMIT
"""Sizes and offsets above this one are written with 64 bits, as `zipfile` does it."""

# Bytes of the parts of a ZIP file without names and 64-bit fields (APPNOTE.TXT 4.3).
_LOCAL_HEADER, _DESCRIPTOR, _CENTRAL_HEADER, _END = 30, 16, 46, 22
_ZIP64_LOCAL, _ZIP64_DESCRIPTOR, _ZIP64_END = 20, 24, 56 + 20


class Compression(StrEnum):
    """`stored` keeps the bytes as they are, `deflated` makes float WAVs a tenth smaller for a lot of time."""

    STORED = "stored"
    DEFLATED = "deflated"


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """`content` gives `size_bytes` bytes, in pieces."""

    name: str
    size_bytes: int
    content: AsyncIterator[bytes]


class _Pipe:
    """What `zipfile` writes, until it is taken. It cannot seek, so sizes follow each file's content."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        return

    def take(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        return data


def zip_size_bytes(files: Sequence[ArchiveFile]) -> int:
    """How long the archive of these files is, stored: their contents need not be read to know it."""
    offset, central = 0, 0
    for file in files:
        name = len(file.name.encode())
        is_large, is_far = file.size_bytes > LONGEST_BYTES, offset > LONGEST_BYTES
        central += _CENTRAL_HEADER + name
        if is_large or is_far:
            central += 4 + 16 * is_large + 8 * is_far
        offset += _LOCAL_HEADER + name + file.size_bytes
        offset += _ZIP64_LOCAL + _ZIP64_DESCRIPTOR if is_large else _DESCRIPTOR
    is_long = offset > LONGEST_BYTES or central > LONGEST_BYTES or len(files) > zipfile.ZIP_FILECOUNT_LIMIT
    return offset + central + _END + (_ZIP64_END if is_long else 0)


async def sliced(pieces: AsyncIterator[bytes], start: int, length: int) -> AsyncIterator[bytes]:
    """`length` bytes from `start` of what the pieces make together; what follows is not read."""
    end, offset = start + length, 0
    async for piece in pieces:
        kept = piece[max(0, start - offset) : end - offset]
        offset += len(piece)
        if kept:
            yield kept
        if offset >= end:
            return


async def zip_stream(
    files: Sequence[ArchiveFile], at: datetime, compression: Compression
) -> AsyncIterator[bytes]:
    """The archive's bytes; every file in it has the time `at`. Raises what the contents raise."""
    pipe = _Pipe()
    method = zipfile.ZIP_STORED if compression is Compression.STORED else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(pipe, "w", method) as archive:  # type: ignore[call-overload]  # all it needs
        for file in files:
            entry = zipfile.ZipInfo(file.name, at.timetuple()[:6])
            entry.compress_type = method
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=file.size_bytes > LONGEST_BYTES) as sink:
                async for piece in file.content:
                    await asyncio.to_thread(sink.write, piece)
                    yield pipe.take()
    yield pipe.take()
