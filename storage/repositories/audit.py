"""The audit record: entries are only ever added, some lines of JSON to an object, and no object is written
twice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from storage import paths
from storage.stores.object_store import IfAbsent, ObjectStore

Entry = Mapping[str, Any]


class Audit:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def append(self, entries: Sequence[Entry], now: datetime) -> None:
        """Keep these entries, durably when this returns. Raises StoreError."""
        utc = now.astimezone(UTC)
        name = f"{int(utc.timestamp() * 1000):013d}-{secrets.token_hex(4)}"
        lines = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries)
        await self._store.put(paths.audit(utc.date().isoformat(), name), lines.encode(), IfAbsent())

    async def read(self, day: date, after: str, limit: int) -> tuple[list[Entry], str | None]:
        """Entries of a day in order, from after the object of this name: all of some objects, together `limit` or
        more if there are so many; and the name to go on after. Raises StoreError."""
        folder = f"{paths.AUDIT}{day.isoformat()}/"
        start_after = f"{folder}{paths.component(after)}.jsonl" if after else ""
        entries: list[Entry] = []
        async for found in self._store.list(folder, start_after=start_after):
            if len(entries) >= limit:
                return entries, after
            after = found.key.removeprefix(folder).removesuffix(".jsonl")
            data = (await self._store.get(found.key)).data
            entries += [json.loads(line) for line in data.decode().splitlines()]
        return entries, None
