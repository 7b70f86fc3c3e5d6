"""Jobs that make a file of a line of nodes. They publish in their own record."""

from __future__ import annotations

from typing import Any

from deployments.export.media_errors import MediaError, WrongValue
from deployments.specs.export import ExportSpec
from deployments.stages.export.order import ExportOrder
from deployments.stages.export.stage import ExportStage
from deployments.worker.handlers.handler import Progress
from storage.domain.jobs import Job, JobState
from storage.domain.model import Failure
from storage.domain.outcomes import Outcome
from storage.repositories.blobs import Blobs
from storage.repositories.exports import Export


class ExportHandler:
    """A file made of a frozen line. It publishes in its own record, by way of `exports/{hash}`."""

    def __init__(self, stage: ExportStage, blobs: Blobs) -> None:
        self._stage = stage
        self._blobs = blobs

    async def open(self, job: Job) -> Outcome | None:
        return await self.decided(job)

    async def decided(self, job: Job) -> Outcome | None:
        return Outcome(JobState.CANCELLED) if job.cancel_requested else None

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        try:
            export = await self._stage.run(job.tenant, order_of_job(job), on_progress)
        except MediaError as error:
            return await self.fail(job, Failure("export-impossible", error.detail))
        return Outcome(JobState.SUCCEEDED, export_result(export))

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        return Outcome(JobState.FAILED, error=failure)

    async def clean_up(self, job: Job) -> None:
        """The cover and the documents that came with the request."""
        try:
            order = order_of_job(job)
        except MediaError:
            return
        for blob in (order.cover, order.documents):
            if blob is not None:
                await self._blobs.delete(job.tenant, blob)


def order_of_job(job: Job) -> ExportOrder:
    """What an export job is to make. Raises WrongValue for a record that an older version of this code made."""
    try:
        return ExportSpec.from_record(job.params).order
    except (KeyError, TypeError) as error:
        raise WrongValue("This was asked for before the server was updated; ask for it again.") from error


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
        **export.facts,
    }
