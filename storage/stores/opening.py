"""From settings to an object store, and whether it may be relied on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from configs.settings import StorageSettings
from storage.stores.local_folder import LocalFolderStore
from storage.stores.memory import MemoryStore
from storage.stores.object_store import ObjectStore, StoreError

if TYPE_CHECKING:
    from storage.stores.s3.probe import ProbeReport

SAFE_SERVERS = (
    "AWS S3, Ceph RGW, SeaweedFS with atomic conditional writes, RustFS, or a MinIO that still runs"
)

_log = logging.getLogger("segue.storage")


class UnsafeStore(StoreError):
    """Several processes on this store would overwrite each other's changes."""


def open_store(
    settings: StorageSettings, on_retry: Callable[[str], None] = lambda action: None
) -> ObjectStore:
    """The store of `settings.url`. Cheap: a bucket is not spoken to until the first use. `on_retry` is called
    before a call to a bucket is made again, with what it does.

    Raises ValueError for a URL of another kind, StoreUnavailable for a folder that cannot be used.
    """
    scheme, _, rest = settings.url.partition(":")
    if scheme == "file" and rest:
        return LocalFolderStore(Path(rest), require_existing=settings.require_existing)
    if scheme == "memory" and not rest:
        return MemoryStore()
    if scheme == "s3":
        from storage.stores.s3 import (
            S3Store,  # boto3 takes its time to import, and most laptops never need it
        )

        return S3Store(settings, on_retry)
    raise ValueError(f"storage URL {settings.url!r} is none of file:PATH, s3://BUCKET/PREFIX and memory:")


async def check_store(store: ObjectStore, settings: StorageSettings, *, replicas: int) -> ProbeReport | None:
    """Refuse a store on which changes would be lost; to be called where a process starts.

    `replicas` is the most that any deployment with access to the store may have. A bucket is probed (see
    `storage.stores.s3.probe`), which takes a second or two and tells at once of a missing bucket or wrong keys;
    other stores are known, and there is no report.

    Raises UnsafeStore, and the StoreError with which the probe could not be made.
    """
    if isinstance(store, MemoryStore) and replicas > 1:
        raise UnsafeStore(
            "storage.url is memory:, which no two processes share: use file:PATH or s3://BUCKET"
        )
    if not settings.url.startswith("s3:"):
        return None
    from storage.stores.s3.probe import probe

    report = await probe(store)
    if report.broken:
        _refuse_unless_alone(f"{store}", ", ".join(report.broken), settings, replicas)
    else:
        _log.info("%s keeps its conditions", store)
    return report


def _refuse_unless_alone(store: str, broken: str, settings: StorageSettings, replicas: int) -> None:
    found = (
        f"{store} ignores the conditions of writes (not so: {broken}), so processes that change one document "
        "at the same moment lose changes without notice"
    )
    if not settings.unsafe_single_writer:
        raise UnsafeStore(
            f"{found}. Servers that work: {SAFE_SERVERS}. To go on at that risk with one replica of each "
            "deployment, set storage.unsafe_single_writer: true"
        )
    if replicas > 1:
        raise UnsafeStore(
            f"{found}. storage.unsafe_single_writer is for one replica of each deployment, and up to {replicas} "
            f"are configured. Servers that work: {SAFE_SERVERS}"
        )
    _log.warning("%s; storage.unsafe_single_writer accepts that", found)
