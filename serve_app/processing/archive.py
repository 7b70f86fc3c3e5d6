"""A ZIP file that is made while it is sent: one piece of one file in memory at a time."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_LARGE_BYTES = 2**31
"""From here on a file's sizes are written with 64 bits: they are known only once it has been sent."""


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
            with archive.open(entry, "w", force_zip64=file.size_bytes >= _LARGE_BYTES) as sink:
                async for piece in file.content:
                    await asyncio.to_thread(sink.write, piece)
                    yield pipe.take()
    yield pipe.take()
