"""Every implementation of `ObjectStore`, each with a way to make a fresh one: one line adds another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from storage.local_folder import LocalFolderStore
from storage.memory import MemoryStore
from storage.objects import ObjectStore

STORES: dict[str, Callable[[Path], ObjectStore]] = {
    "memory": lambda _: MemoryStore(),
    "local_folder": lambda folder: LocalFolderStore(folder),
}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made = STORES[request.param](tmp_path / "store")
    yield made
    await made.close()
