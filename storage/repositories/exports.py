"""What has been exported: one record for each plan, named by the plan's hash, so asked twice is made once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage import paths
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
from storage.stores.object_store import BadKey, ObjectNotFound, ObjectStore

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


class Exports:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def keep(self, export: Export) -> Export:
        """Keep a finished export; returns the first one kept under its id. A damaged record is replaced."""
        document = self._document(export.tenant, export.id)
        try:
            kept, _ = await document.create(export)
        except DocumentCorrupt:
            kept = await document.replace_damaged(export)
        return kept

    async def find(self, tenant: str, export_id: str) -> Export | None:
        try:
            return await self._document(tenant, export_id).load()
        except (ObjectNotFound, BadKey):
            return None
        except DocumentCorrupt as error:
            logger.error("an export's record cannot be read; the file can be made again: %s", error)
            return None

    def _document(self, tenant: str, export_id: str) -> Document[Export]:
        return Document(
            self._store,
            paths.export(tenant, export_id),
            CODEC,
            belongs=lambda export: (export.tenant, export.id) == (tenant, export_id),
        )


def _to_record(export: Export) -> dict[str, Any]:
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


def _from_record(record: Mapping[str, Any]) -> Export:
    """Raises BadRecord."""
    require_format(record)
    try:
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


CODEC: Codec[Export] = Codec(encode=_to_record, decode=_from_record)
