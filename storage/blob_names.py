"""Who a blob or a segment was made by, as its name says: `{owner}-{sha256}`, `{job}-{fence}-{number}`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UPLOAD = re.compile(r"upload-(?P<chain>.+)-[0-9a-f]{64}")
_SOURCE = re.compile(r"source-(?P<job>.+)-[0-9a-f]{64}")
_EXPORT = re.compile(r"export-((?P<export>[0-9a-f]{64})-[0-9a-f]{8}-|.+-)?[0-9a-f]{64}")
_SEGMENT = re.compile(r"(?P<job>.+)-\d+-\d{4,}")
_CLAIM = re.compile(r"(?P<job>.+)-(?P<fence>\d+)-[0-9a-f]{64}")


EXPORT_OWNER = "export"


@dataclass(frozen=True, slots=True)
class UploadOf:
    """A file as it was uploaded, or its canonical form, for a chain that was then to be made."""

    chain_id: str


@dataclass(frozen=True, slots=True)
class SourceOf:
    """A track that was uploaded to be processed, for a job that was then to be made."""

    job_id: str


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file that was written for an export's record to name; None where an older version wrote it, which did not
    say for which."""

    export_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimOf:
    """What a job made under one claim."""

    job_id: str
    fence: int


Owner = UploadOf | SourceOf | ExportFile | ClaimOf


def owner_of(blob_name: str) -> Owner | None:
    """None for a name that no version of this code gives."""
    if found := _UPLOAD.fullmatch(blob_name):
        return UploadOf(found["chain"])
    if found := _SOURCE.fullmatch(blob_name):
        return SourceOf(found["job"])
    if found := _EXPORT.fullmatch(blob_name):
        return ExportFile(found["export"])
    if found := _CLAIM.fullmatch(blob_name):
        return ClaimOf(found["job"], int(found["fence"]))
    return None


def job_of_segment(name: str) -> str | None:
    """The job that made a segment; None for a name that no version of this code gives."""
    found = _SEGMENT.fullmatch(name)
    return found["job"] if found else None
