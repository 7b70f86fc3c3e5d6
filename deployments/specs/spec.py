"""What the specs of all kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol, Self

from storage.domain.jobs import Job, JobKind


class JobSpec(Protocol):
    """All that a job of one kind needs to know; what is decided later does not change it."""

    kind: ClassVar[JobKind]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the blobs that the job reads and that nothing else may name: the collector keeps them while
        the job is unfinished."""
        ...

    def to_record(self) -> dict[str, Any]: ...

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError, ValueError for the record of another kind."""
        ...


def new_job(spec: JobSpec, *, job_id: str, tenant: str, request_sha256: str, now: datetime) -> Job:
    """A queued job that does what `spec` describes."""
    return Job(
        id=job_id,
        kind=spec.kind,
        tenant=tenant,
        created_at=now,
        updated_at=now,
        request_sha256=request_sha256,
        params=spec.to_record(),
        inputs=spec.inputs,
    )
