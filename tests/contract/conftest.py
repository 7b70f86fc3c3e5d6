"""Every implementation of `ObjectStore`, each with a way to make a fresh one: one line adds another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deployments.telemetry.storage import metered
from storage.stores.local_folder import LocalFolderStore
from storage.stores.memory import MemoryStore
from storage.stores.object_store import ObjectStore
from storage.stores.s3 import S3Store
from tests.storage.stores.s3_servers import s3_server, s3_settings
from tests.support.recorder import MemoryRecorder

__all__ = ["s3_server", "s3_settings"]

STORES: dict[str, Callable[[pytest.FixtureRequest, Path], ObjectStore]] = {
    "memory": lambda _, folder: MemoryStore(),
    "local_folder": lambda _, folder: LocalFolderStore(folder),
    "metered": lambda _, folder: metered(MemoryStore(), MemoryRecorder()),
    "s3": lambda request, _: S3Store(request.getfixturevalue("s3_settings")),
}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made = STORES[request.param](request, tmp_path / "store")
    yield made
    await made.close()
