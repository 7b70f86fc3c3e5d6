"""A store whose operations are measured, and are spans of the traces that they are part of."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from deployments.telemetry import catalog, traces
from deployments.telemetry.recorder import Recorder
from storage.stores.object_store import (
    Condition,
    IfMatch,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    PreconditionFailed,
    StoredObject,
    StoreError,
)
from storage.stores.presigned_urls import Presigns


def metered(store: ObjectStore, recorder: Recorder, *, is_traced: bool = True) -> MeteredStore:
    """`store`, measured. It offers what `store` does."""
    kind = MeteredPresigningStore if isinstance(store, Presigns) else MeteredStore
    return kind(store, recorder, is_traced=is_traced)


def retries(recorder: Recorder) -> Callable[[str], None]:
    """What `open_store` calls before a call is made again."""
    return lambda action: recorder.record(catalog.STORAGE_RETRIES, 1, operation=action)


class MeteredStore:
    """Implements `ObjectStore` by another one."""

    def __init__(self, store: ObjectStore, recorder: Recorder, *, is_traced: bool = True) -> None:
        self._store = store
        self._record = recorder.record
        self._is_traced = is_traced

    def __str__(self) -> str:
        return str(self._store)

    async def get(self, key: str) -> StoredObject:
        with self._measured("get", key):
            found = await self._store.get(key)
        self._record(catalog.STORAGE_BYTES, len(found.data), direction="read")
        return found

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._measured("get_range", key):
            data = await self._store.get_range(key, start, length)
        self._record(catalog.STORAGE_BYTES, len(data), direction="read")
        return data

    async def head(self, key: str) -> ObjectInfo:
        with self._measured("head", key):
            return await self._store.head(key)

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        with self._measured("put", key):
            try:
                etag = await self._store.put(key, data, condition)
            except PreconditionFailed:
                expected = "if-match" if isinstance(condition, IfMatch) else "if-absent"
                self._record(catalog.STORAGE_CONFLICTS, 1, condition=expected)
                raise
        self._record(catalog.STORAGE_BYTES, len(data), direction="written")
        return etag

    async def put_file(self, key: str, path: Path) -> str:
        with self._measured("put_file", key):
            etag = await self._store.put_file(key, path)
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        self._record(catalog.STORAGE_BYTES, size_bytes, direction="written")
        return etag

    async def delete(self, key: str) -> None:
        with self._measured("delete", key):
            await self._store.delete(key)

    async def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """What takes the time between two objects is the reader's own, and not counted."""
        took_s, outcome = 0.0, "ok"
        found = self._store.list(prefix, start_after=start_after)
        try:
            while True:
                began_s = time.monotonic()
                try:
                    info = await anext(found)
                except StopAsyncIteration:
                    return
                finally:
                    took_s += time.monotonic() - began_s
                yield info
        except StoreError as error:
            outcome = _outcome(error)
            raise
        finally:
            self._ended("list", took_s, outcome)

    async def list_folders(self, prefix: str) -> builtins.list[str]:
        with self._measured("list_folders", prefix):
            return await self._store.list_folders(prefix)

    async def close(self) -> None:
        await self._store.close()

    @contextmanager
    def _measured(self, operation: str, key: str) -> Iterator[None]:
        began_s, outcome = time.monotonic(), "ok"
        try:
            with traces.detail(f"storage {operation}", key=key) if self._is_traced else nullcontext():
                yield
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            self._ended(operation, time.monotonic() - began_s, outcome)

    def _ended(self, operation: str, took_s: float, outcome: str) -> None:
        self._record(catalog.STORAGE_OPERATIONS, 1, operation=operation, outcome=outcome)
        self._record(catalog.STORAGE_SECONDS, took_s, operation=operation)


class MeteredPresigningStore(MeteredStore):
    """Implements `Presigns` as well."""

    async def presigned_url(
        self, key: str, *, expires_s: int, content_disposition: str, media_type: str
    ) -> str:
        store = self._store
        assert isinstance(store, Presigns)  # noqa: S101 - `metered` has looked
        return await store.presigned_url(
            key, expires_s=expires_s, content_disposition=content_disposition, media_type=media_type
        )


def _outcome(error: BaseException) -> str:
    """What the answer was: that there is nothing, or another state, is no failure of the store."""
    match error:
        case ObjectNotFound():
            return "not-found"
        case PreconditionFailed():
            return "conflict"
        case asyncio.CancelledError():
            return "cancelled"
        case _:
            return "failed"
