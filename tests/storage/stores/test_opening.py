"""Storage URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.settings import StorageSettings
from storage.stores.memory import MemoryStore
from storage.stores.object_store import ObjectStore, StoreUnavailable
from storage.stores.opening import open_store
from storage.stores.s3 import S3Store

NO_BUCKETS = [
    "s3:",
    "s3://",
    "s3:bucket",
    "s3:///a",
    "s3://b/a//b",
    "s3://b/../a",
    "s3://b/a b",
    "s3://-/a",
    "S3://b",
]


def open_at(url: str) -> ObjectStore:
    return open_store(StorageSettings(url=url))


async def test_a_file_url_keeps_objects_in_that_folder(tmp_path: Path) -> None:
    store = open_at(f"file:{tmp_path}/deep/data")
    await store.put("a/b", b"kept")
    await store.close()
    assert (tmp_path / "deep" / "data" / "a" / "b").read_bytes() == b"kept"


async def test_a_relative_path_is_the_folders_of_the_start_even_if_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    store = open_at("file:data")
    monkeypatch.chdir(tmp_path / "other")
    await store.put("a", b"kept")
    await store.close()
    assert (tmp_path / "data" / "a").read_bytes() == b"kept"


async def test_each_memory_url_is_a_store_of_its_own() -> None:
    one, other = open_at("memory:"), open_at("memory:")
    assert isinstance(one, MemoryStore)
    await one.put("a", b"")
    assert [info async for info in other.list("")] == []


async def test_an_s3_url_is_opened_without_asking_anybody() -> None:
    store = open_store(StorageSettings(url="s3://bucket/prefix", endpoint_url="http://nowhere.invalid"))
    assert isinstance(store, S3Store)
    assert str(store) == "s3://bucket/prefix at http://nowhere.invalid"
    await store.close()


@pytest.mark.parametrize("url", ["", "data", "file:", "memory:x", "ftp://host/x", "FILE:data", *NO_BUCKETS])
def test_what_is_no_storage_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match="storage URL"):
        open_at(url)


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        open_at(f"file:{tmp_path}/file/data")
