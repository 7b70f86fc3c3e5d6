"""Blobs: what comes out is what went in, or an error."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from storage import paths
from storage.domain.model import BlobRef
from storage.repositories.blobs import BlobCorrupt, Blobs
from storage.stores.memory import MemoryStore
from storage.stores.object_store import StoreError
from tests.support.faulty_store import FaultyStore

DATA = bytes(range(256)) * 40_000  # more than two of the pieces in which a blob is checked


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def blobs(store: MemoryStore) -> Blobs:
    return Blobs(store)


async def test_a_blob_is_named_by_its_owner_and_its_hash(blobs: Blobs, store: MemoryStore) -> None:
    ref = await blobs.put("t", "job-1", b"sound")
    digest = hashlib.sha256(b"sound").hexdigest()
    assert ref == BlobRef(f"job-1-{digest}", digest, 5)
    assert [info.key async for info in store.list("")] == [f"tenants/t/blobs/job-1-{digest}"]


async def test_what_went_in_comes_out_whole_and_in_parts(blobs: Blobs) -> None:
    ref = await blobs.put("t", "job-1", DATA)
    assert await blobs.get("t", ref) == DATA
    assert await blobs.read("t", ref, 5_000_001, 1000) == DATA[5_000_001:5_001_001]
    assert await blobs.read("t", ref, len(DATA) - 3, 100) == DATA[-3:]


async def test_a_file_is_kept_under_the_hash_that_the_caller_took(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp3"
    source.write_bytes(DATA)
    ref = await blobs.put_file("t", "upload-1", source, hashlib.sha256(DATA).hexdigest())
    assert ref.size_bytes == len(DATA)
    assert await blobs.get("t", ref) == DATA


async def test_writing_twice_is_writing_the_same(blobs: Blobs, store: MemoryStore) -> None:
    assert await blobs.put("t", "job-1", b"sound") == await blobs.put("t", "job-1", b"sound")
    assert len([info async for info in store.list("")]) == 1


async def test_two_attempts_never_write_the_same_blob(blobs: Blobs) -> None:
    assert await blobs.put("t", "job-1", b"sound") != await blobs.put("t", "job-2", b"sound")


async def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    ref = await blobs.put("t", "job-1", b"")
    assert await blobs.get("t", ref) == await blobs.read("t", ref, 0, 10) == b""


@pytest.mark.parametrize("damage", [DATA[:-1], DATA[:-1] + b"!", b"", DATA + b"more"])
async def test_damage_is_noticed_before_a_byte_is_given(store: MemoryStore, damage: bytes) -> None:
    ref = await Blobs(store).put("t", "job-1", DATA)
    await store.put(paths.blob("t", ref.name), damage)
    with pytest.raises(BlobCorrupt, match="not what was written"):
        await Blobs(store).get("t", ref)
    if not damage.startswith(DATA):
        with pytest.raises(BlobCorrupt, match="not what was written"):
            await Blobs(store).read("t", ref, 0, 10)


async def test_a_blob_that_is_gone_is_an_error_of_the_store_not_an_empty_one(
    blobs: Blobs, store: MemoryStore
) -> None:
    ref = await blobs.put("t", "job-1", DATA)
    await store.delete(paths.blob("t", ref.name))
    for read in (blobs.get("t", ref), blobs.read("t", ref, 0, 10)):
        with pytest.raises(BlobCorrupt, match="gone"):
            await read
    assert issubclass(BlobCorrupt, StoreError)


async def test_a_blob_that_went_after_it_was_checked_is_gone_too(blobs: Blobs, store: MemoryStore) -> None:
    ref = await blobs.put("t", "job-1", DATA)
    await blobs.read("t", ref, 0, 10)
    await store.delete(paths.blob("t", ref.name))
    with pytest.raises(BlobCorrupt, match="gone"):
        await blobs.read("t", ref, 0, 10)


async def test_the_whole_is_checked_once_not_at_each_part(store: MemoryStore) -> None:
    counting = FaultyStore()
    blobs = Blobs(counting)
    ref = await blobs.put("t", "job-1", DATA)
    await blobs.read("t", ref, 0, 10)
    first = counting.read_bytes
    for start in range(0, 1000, 10):
        await blobs.read("t", ref, start, 10)
    assert first < 2 * len(DATA)
    assert counting.read_bytes - first < 100 * len(DATA) / 10  # a piece each, not the whole


@pytest.mark.parametrize("damage", [DATA[:-1], DATA[:-1] + b"!", b"", DATA + b"more", DATA[1:] + DATA[:1]])
async def test_damage_after_many_good_reads_is_noticed_at_the_next(
    blobs: Blobs, store: MemoryStore, damage: bytes
) -> None:
    """Wherever it lies, and whatever part is read: the object has been written to."""
    ref = await blobs.put("t", "job-1", DATA)
    for _ in range(3):
        assert await blobs.read("t", ref, 5, 10) == DATA[5:15]
    await store.put(paths.blob("t", ref.name), damage)
    with pytest.raises(BlobCorrupt, match="not what was written"):
        await blobs.read("t", ref, 5, 10)


async def test_bytes_that_rot_without_a_write_are_never_given_out(blobs: Blobs, store: MemoryStore) -> None:
    ref = await blobs.put("t", "job-1", DATA)
    await blobs.read("t", ref, 0, 10)
    key = paths.blob("t", ref.name)
    store._objects[key] = replace(store._objects[key], data=DATA[:-1] + b"!")
    with pytest.raises(BlobCorrupt, match="not what was written"):
        await blobs.read("t", ref, len(DATA) - 10, 10)


@pytest.mark.parametrize(
    "start", [0, 1, 262_143, 262_144, 262_145, 5_000_000, len(DATA) - 1, len(DATA), len(DATA) + 9]
)
@pytest.mark.parametrize("length", [0, 1, 262_144, 600_000])
async def test_any_part_is_the_part_that_was_asked_for(blobs: Blobs, start: int, length: int) -> None:
    ref = await blobs.put("t", "job-1", DATA)
    assert await blobs.read("t", ref, start, length) == DATA[start : start + length]


async def test_tenants_do_not_share_blobs(blobs: Blobs) -> None:
    ref = await blobs.put("a", "job-1", b"sound")
    with pytest.raises(BlobCorrupt, match="gone"):
        await blobs.get("b", replace(ref))
