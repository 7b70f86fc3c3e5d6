"""A page of a list whose records are read several at a time, and those of them that cannot be read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from storage import paths
from storage.repositories.time_index import Entry
from storage.stores.document import DocumentCorrupt

T = TypeVar("T")

CONCURRENT_READS = 16

logger = logging.getLogger("segue.storage")


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """A record that is listed and cannot be read. `reason` is in plain words; `created_at` as its entry has it."""

    id: str
    created_at: datetime
    reason: str


async def read_entries(
    entries: Sequence[Entry], find: Callable[[str], Awaitable[T | None]]
) -> tuple[list[tuple[Entry, T]], tuple[DamagedRecord, ...]]:
    """The records of some entries in the entries' order, each with its entry, and the damaged ones."""
    gate = asyncio.Semaphore(CONCURRENT_READS)

    async def read(entry: Entry) -> T | DamagedRecord | None:
        async with gate:
            try:
                return await find(entry.record_id)
            except DocumentCorrupt as error:
                logger.error("a record cannot be read: %s", error)
                return DamagedRecord(entry.record_id, paths.time_of_timeline_entry(entry.name), error.reason)

    found = await asyncio.gather(*(read(entry) for entry in entries))
    damaged = {record.id: record for record in found if isinstance(record, DamagedRecord)}
    records = [
        (entry, record)
        for entry, record in zip(entries, found, strict=True)
        if record is not None and not isinstance(record, DamagedRecord)
    ]
    return records, tuple(damaged.values())
