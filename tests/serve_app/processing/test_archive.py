"""The ZIP of all tracks: its length is known before it is made, and any part of it can be fetched alone."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.processing import archive
from serve_app.processing.archive import ArchiveFile, Compression, sliced, zip_size_bytes, zip_stream

AT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20)
FILES = st.lists(
    st.tuples(NAMES.filter(lambda name: "/" not in name), st.binary(max_size=4000)),
    max_size=6,
    unique_by=lambda file: file[0],
)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 700):
        yield data[start : start + 700]


def _archive_files(files: Sequence[tuple[str, bytes]]) -> list[ArchiveFile]:
    return [ArchiveFile(name, len(data), _pieces(data)) for name, data in files]


async def _whole(files: Sequence[tuple[str, bytes]]) -> bytes:
    stream = zip_stream(_archive_files(files), AT, Compression.STORED)
    return b"".join([piece async for piece in stream])


# 600 bytes stand in for the 2 GiB from which on sizes and offsets are written with 64 bits.
@pytest.mark.parametrize("longest_bytes", [zipfile.ZIP64_LIMIT, 600])
@given(files=FILES, data=st.data())
async def test_its_length_and_every_part_of_it_are_those_of_the_whole(
    longest_bytes: int, files: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", longest_bytes)
        patch.setattr(archive, "LONGEST_BYTES", longest_bytes)
        whole = await _whole(files)
        assert zip_size_bytes(_archive_files(files)) == len(whole)
        kept = zipfile.ZipFile(io.BytesIO(whole))
        assert {name: kept.read(name) for name in kept.namelist()} == dict(files)
        start = data.draw(st.integers(0, len(whole) - 1))
        length = data.draw(st.integers(1, len(whole) - start))
        stream = zip_stream(_archive_files(files), AT, Compression.STORED)
        part = b"".join([piece async for piece in sliced(stream, start, length)])
        assert part == whole[start : start + length]
