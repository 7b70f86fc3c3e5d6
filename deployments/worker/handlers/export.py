"""Jobs that encode a line of nodes as a file. They publish in their own record."""

from __future__ import annotations

from typing import Any

from deployments.specs.export import ExportSpec
from deployments.stages.export import ExportStage
from deployments.worker.handlers.handler import Progress
from storage.domain.jobs import Job, JobState
from storage.domain.model import Failure
from storage.domain.outcomes import Outcome
from storage.repositories.exports import Export


class ExportHandler:
    """A file made of a frozen line. It publishes in its own record, by way of `exports/{hash}`."""

    def __init__(self, stage: ExportStage) -> None:
        self._stage = stage

    async def open(self, job: Job) -> Outcome | None:
        return await self.decided(job)

    async def decided(self, job: Job) -> Outcome | None:
        return Outcome(JobState.CANCELLED) if job.cancel_requested else None

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        spec = ExportSpec.from_record(job.params)
        export = await self._stage.run(job.tenant, spec.line, spec.encode, spec.filename)
        return Outcome(JobState.SUCCEEDED, export_result(export))

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        return Outcome(JobState.FAILED, error=failure)

    async def clean_up(self, job: Job) -> None:
        return


def export_result(export: Export) -> dict[str, Any]:
    """What a finished export job shows as its result."""
    return {
        "export_id": export.id,
        "filename": export.filename,
        "media_type": export.media_type,
        "size_bytes": export.blob.size_bytes,
        "duration_s": export.duration_s,
        "peak_dbfs": export.peak_dbfs,
        "clipped_samples": export.clipped_samples,
    }
