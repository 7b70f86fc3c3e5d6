"""From a storage URL to an object store."""

from __future__ import annotations

from pathlib import Path

from storage.local_folder import LocalFolderStore
from storage.memory import MemoryStore
from storage.objects import ObjectStore


def open_store(url: str) -> ObjectStore:
    """`file:PATH` or `memory:`. Raises ValueError for anything else, StoreUnavailable for a bad folder."""
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest:
        return LocalFolderStore(Path(rest))
    if scheme == "memory" and not rest:
        return MemoryStore()
    raise ValueError(f"storage URL {url!r} is neither file:PATH nor memory:")
