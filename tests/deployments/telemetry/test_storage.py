"""What a store that is measured counts. That it is the store it was, the contract suite shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.settings import StorageSettings
from deployments.telemetry import catalog
from deployments.telemetry.storage import metered, retries
from storage.stores.memory import MemoryStore
from storage.stores.object_store import IfAbsent, IfMatch, ObjectNotFound, PreconditionFailed
from storage.stores.opening import open_store
from storage.stores.presigned_urls import Presigns
from tests.support.recorder import MemoryRecorder


async def test_operations_conflicts_and_bytes_are_counted(tmp_path: Path) -> None:
    recorder = MemoryRecorder()
    store = metered(MemoryStore(), recorder)
    etag = await store.put("a/b", b"12345")
    for condition in (IfMatch(etag + "?"), IfMatch(etag + "?"), IfAbsent()):
        with pytest.raises(PreconditionFailed):
            await store.put("a/b", b"", condition)
    assert (await store.get("a/b")).data == b"12345"
    with pytest.raises(ObjectNotFound):
        await store.get("a/c")
    (tmp_path / "file").write_bytes(bytes(1000))
    await store.put_file("a/d", tmp_path / "file")
    assert [info.key async for info in store.list("a/")] == ["a/b", "a/d"]

    def count(**labels: str) -> float:
        return sum(recorder.of(catalog.STORAGE_OPERATIONS, **labels))

    assert count(operation="put", outcome="ok") == 1
    assert count(operation="put", outcome="conflict") == 3
    assert count(operation="get", outcome="not-found") == 1
    assert count(operation="list", outcome="ok") == 1
    assert sum(recorder.of(catalog.STORAGE_CONFLICTS, condition="if-match")) == 2
    assert sum(recorder.of(catalog.STORAGE_CONFLICTS, condition="if-absent")) == 1
    assert sum(recorder.of(catalog.STORAGE_BYTES, direction="written")) == 1005
    assert sum(recorder.of(catalog.STORAGE_BYTES, direction="read")) == 5
    assert len(recorder.of(catalog.STORAGE_SECONDS)) == count()


async def test_calls_that_are_made_again_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    recorder = MemoryRecorder()
    nowhere = StorageSettings(
        url="s3://bucket", endpoint_url="http://127.0.0.1:9", max_attempts=3, connect_timeout_s=0.5
    )
    store = metered(open_store(nowhere, retries(recorder)), recorder)
    with pytest.raises(Exception, match=r"127\.0\.0\.1:9"):
        await store.delete("a")
    await store.close()
    assert recorder.of(catalog.STORAGE_RETRIES, operation="delete") == [1, 1]
    assert recorder.of(catalog.STORAGE_OPERATIONS, operation="delete", outcome="failed") == [1]


def test_it_presigns_where_its_store_does() -> None:
    bucket = open_store(StorageSettings(url="s3://bucket", endpoint_url="http://nowhere.invalid"))
    assert isinstance(metered(bucket, MemoryRecorder()), Presigns)
    assert not isinstance(metered(MemoryStore(), MemoryRecorder()), Presigns)
