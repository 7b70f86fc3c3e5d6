"""Lists of records, newest first, as one empty object for each record under a name that sorts by time.

An entry is written before its record, so a record is never missing from its list; an entry whose record is
not there (a crash in between) or bears another time is passed over by the reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage import paths
from storage.stores.object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class Entry:
    """`name` is also the cursor that continues the list after this entry."""

    name: str
    record_id: str


class Timeline:
    def __init__(self, store: ObjectStore, kind: str) -> None:
        self._store = store
        self._kind = kind

    async def add(self, tenant: str, record_id: str, created_at: datetime) -> None:
        await self._store.put(self._key(tenant, record_id, created_at), b"")

    async def remove(self, tenant: str, record_id: str, created_at: datetime) -> None:
        await self._store.delete(self._key(tenant, record_id, created_at))

    async def entries_of(self, tenant: str, record_id: str) -> list[str]:
        """The names of all entries of a record, for one whose own time cannot be read. Reads the whole list."""
        folder = paths.timeline_folder(tenant, self._kind)
        names = [found.key.removeprefix(folder) async for found in self._store.list(folder)]
        return [name for name in names if paths.id_of_timeline_entry(name) == record_id]

    async def remove_entry(self, tenant: str, name: str) -> None:
        await self._store.delete(paths.timeline_folder(tenant, self._kind) + paths.component(name))

    async def after(self, tenant: str, cursor: str | None, limit: int) -> list[Entry]:
        """Up to `limit` entries, newest first, after the one named by `cursor`."""
        folder = paths.timeline_folder(tenant, self._kind)
        start_after = folder + paths.component(cursor) if cursor else ""
        entries: list[Entry] = []
        async for found in self._store.list(folder, start_after=start_after):
            name = found.key.removeprefix(folder)
            entries.append(Entry(name, paths.id_of_timeline_entry(name)))
            if len(entries) == limit:
                break
        return entries

    def _key(self, tenant: str, record_id: str, created_at: datetime) -> str:
        return paths.timeline_folder(tenant, self._kind) + paths.timeline_entry(created_at, record_id)
