"""What a store holds when nothing runs any more, read with the product's own storage modules."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Self

from configs.settings import StorageSettings
from storage import paths
from storage.stores.object_store import ObjectNotFound, ObjectStore
from storage.stores.opening import open_store
from tests.support.invariants import Write

DOCUMENTS = ("chains", "jobs")
"""Of these all versions are looked at where the store keeps them."""


class StoredObjects(Mapping[str, bytes]):
    """One tenant's objects by their keys, listed at once, each read when it is asked for."""

    def __init__(self, settings: StorageSettings, tenant: str) -> None:
        self._runner = asyncio.Runner()
        self._store = open_store(settings)
        self._tenant = tenant
        self._modified_s = self._runner.run(_modified_s(self._store, tenant))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._store.close())
        self._runner.close()

    def __getitem__(self, key: str) -> bytes:
        if key not in self._modified_s:
            raise KeyError(key)
        try:
            return self._runner.run(self._store.get(key)).data
        except ObjectNotFound as error:
            raise KeyError(key) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._modified_s)

    def __len__(self) -> int:
        return len(self._modified_s)

    def documents(self) -> list[Write]:
        """Chains and jobs as they are now."""
        folders = tuple(paths.folder(self._tenant, kind) for kind in DOCUMENTS)
        return [
            Write(modified_s, key, self[key])
            for key, modified_s in self._modified_s.items()
            if key.startswith(folders)
        ]


async def _modified_s(store: ObjectStore, tenant: str) -> dict[str, float]:
    listed = store.list(f"{paths.TENANTS}{tenant}/")
    return {info.key: info.modified_at.timestamp() async for info in listed}
