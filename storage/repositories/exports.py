"""What has been exported: one record for each plan, named by the plan's hash, so asked twice is made once.

A file is written before its record. Between the two its writer may stand still for longer than the collector leaves
a file alone that no record names. So the collector puts a barrier in the record's place before it deletes such a
file: a record that was on its way then does not land any more, and its writer writes the file again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage import paths
from storage.blob_names import EXPORT_OWNER
from storage.domain.checks import require_types
from storage.domain.model import BlobRef
from storage.domain.records import (
    FORMAT_VERSION,
    BadRecord,
    blob_from_record,
    blob_to_record,
    format_time,
    parse_time,
    require_format,
)
from storage.stores.document import Codec, Document, DocumentCorrupt
from storage.stores.object_store import BadKey, ObjectNotFound, ObjectStore, StoreError

logger = logging.getLogger("segue.storage")


@dataclass(frozen=True, slots=True)
class Export:
    """A finished file. `id` is the plan's hash; `filename` is what a download is called.

    `peak_dbfs` is the encoded signal's, `clipped_samples` how many of its samples were beyond full scale and are
    not in the file as they were; None in records of before they were counted. `samples` are the file's, at its
    rate. `facts` is what else its job's result shows, JSON-able. `manifest` is the C2PA manifest of a signed file
    that does not hold it itself.
    """

    id: str
    tenant: str
    created_at: datetime
    blob: BlobRef
    media_type: str
    filename: str
    samples: int
    sample_rate_hz: int
    peak_dbfs: float | None = None
    clipped_samples: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    manifest: BlobRef | None = None

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        return (self.blob,) if self.manifest is None else (self.blob, self.manifest)

    @property
    def duration_s(self) -> float:
        return self.samples / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class Barrier:
    """In the place of an export's record: no export of this plan whose file was written before it comes any more.
    No two are equal."""

    id: str
    tenant: str
    created_at: datetime
    token: str = field(default_factory=lambda: secrets.token_hex(8))


class ExportBarred(StoreError):
    """The collector takes the export's file, or has: it came to no record in time."""


class Exports:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def publish(self, tenant: str, export_id: str, write: Callable[[str], Awaitable[Export]]) -> Export:
        """Keep an export whose files `write` puts into the store, for the owner that it is given, once more if the
        collector has taken them meanwhile. Returns the first one kept under its id; a damaged record is replaced.
        """
        while True:
            seen = await self._look(tenant, export_id)
            if isinstance(seen, Export):
                return seen
            # A name that nobody has written before: the collector may be about to delete that.
            export = await write(f"{EXPORT_OWNER}-{export_id}-{secrets.token_hex(4)}")
            try:
                return await self.keep(export, over=seen)
            except ExportBarred as error:
                logger.warning("its file is written again: %s", error)

    async def keep(self, export: Export, over: Barrier | None = None) -> Export:
        """Keep a finished export; returns the first one kept under its id. A damaged record is replaced, and the
        barrier `over`, which was there before the export's file was written.

        Raises ExportBarred where there is another barrier.
        """
        document = self._document(export.tenant, export.id)

        def replaced(now: Export | Barrier) -> Export | Barrier:
            return export if now == over else now

        try:
            kept, _ = await document.create(export)
            if isinstance(kept, Barrier) and kept == over:
                kept = await document.change(replaced)
        except DocumentCorrupt:
            kept = await document.replace_damaged(export)
        if isinstance(kept, Barrier):
            raise ExportBarred(f"export {export.id} is barred")
        return kept

    async def bar(self, barrier: Barrier, blob_name: str) -> bool:
        """See to it that no record comes to name a file that was written before now; False if one names it.

        Raises ObjectNotFound, DocumentCorrupt: nothing is known then.
        """
        document = self._document(barrier.tenant, barrier.id)
        kept, _ = await document.create(barrier)
        if isinstance(kept, Barrier) and kept != barrier:  # one over which a record may be on its way
            kept = await document.change(lambda now: barrier if isinstance(now, Barrier) else now)
        return isinstance(kept, Barrier) or all(blob.name != blob_name for blob in kept.blobs)

    async def find(self, tenant: str, export_id: str) -> Export | None:
        found = await self._look(tenant, export_id)
        return found if isinstance(found, Export) else None

    async def read(self, tenant: str, export_id: str) -> Export | Barrier | None:
        """What is in the record's place. Raises DocumentCorrupt."""
        try:
            return await self._document(tenant, export_id).load()
        except (ObjectNotFound, BadKey):
            return None

    async def _look(self, tenant: str, export_id: str) -> Export | Barrier | None:
        try:
            return await self.read(tenant, export_id)
        except DocumentCorrupt as error:
            logger.error("an export's record cannot be read; the file can be made again: %s", error)
            return None

    def _document(self, tenant: str, export_id: str) -> Document[Export | Barrier]:
        return Document(
            self._store,
            paths.export(tenant, export_id),
            CODEC,
            belongs=lambda export: (export.tenant, export.id) == (tenant, export_id),
        )


def _to_record(export: Export | Barrier) -> dict[str, Any]:
    if isinstance(export, Barrier):
        return {
            "format_version": FORMAT_VERSION,
            "id": export.id,
            "tenant": export.tenant,
            "created_at": format_time(export.created_at),
            "blob": None,
            "token": export.token,
        }
    return {
        "format_version": FORMAT_VERSION,
        "id": export.id,
        "tenant": export.tenant,
        "created_at": format_time(export.created_at),
        "blob": blob_to_record(export.blob),
        "media_type": export.media_type,
        "filename": export.filename,
        "samples": export.samples,
        "sample_rate_hz": export.sample_rate_hz,
        "peak_dbfs": export.peak_dbfs,
        "clipped_samples": export.clipped_samples,
        "facts": dict(export.facts),
        "manifest": None if export.manifest is None else blob_to_record(export.manifest),
    }


def _from_record(record: Mapping[str, Any]) -> Export | Barrier:
    """Raises BadRecord."""
    require_format(record)
    try:
        if record["blob"] is None:
            barrier = Barrier(
                record["id"], record["tenant"], parse_time(record["created_at"]), record["token"]
            )
            require_types(barrier)
            return barrier
        export = Export(
            id=record["id"],
            tenant=record["tenant"],
            created_at=parse_time(record["created_at"]),
            blob=blob_from_record(record["blob"]),
            media_type=record["media_type"],
            filename=record["filename"],
            samples=record["samples"],
            sample_rate_hz=record["sample_rate_hz"],
            peak_dbfs=record.get("peak_dbfs"),
            clipped_samples=record.get("clipped_samples"),
            facts=record.get("facts", {}),
            manifest=None if record.get("manifest") is None else blob_from_record(record["manifest"]),
        )
        require_types(export)
        return export
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"not an export record: {error!r}") from error


CODEC: Codec[Export | Barrier] = Codec(encode=_to_record, decode=_from_record)
