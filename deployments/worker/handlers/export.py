"""Jobs that encode a line of nodes as a file. They publish in their own record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from deployments.export.plan import AudioFormat, EncodePlan, Metadata
from deployments.stages.export import ExportStage, FrozenLine
from deployments.worker.handlers.handler import Progress
from storage.domain.jobs import Job, JobState
from storage.domain.model import Failure
from storage.domain.outcomes import Outcome
from storage.domain.records import audio_from_record, audio_to_record
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
        line = FrozenLine(tuple(audio_from_record(audio) for audio in job.params["line"]))
        export = await self._stage.run(
            job.tenant, line, encode_plan(job.params["encode"]), str(job.params["filename"])
        )
        return Outcome(JobState.SUCCEEDED, export_result(export))

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        return Outcome(JobState.FAILED, error=failure)

    async def clean_up(self, job: Job) -> None:
        return


def export_params(chain_id: str, line: FrozenLine, encode: EncodePlan, filename: str) -> dict[str, Any]:
    """The parameters of an export job's record: all that it needs, so that later commits change nothing."""
    return {
        "chain_id": chain_id,
        "line": [audio_to_record(audio) for audio in line.nodes],
        "encode": asdict(encode),
        "filename": filename,
    }


def encode_plan(record: Mapping[str, Any]) -> EncodePlan:
    """The encode plan of an export job's parameters."""
    return EncodePlan(
        **{
            **record,
            "format": AudioFormat(record["format"]),
            "metadata": Metadata(**record["metadata"]),
        }
    )


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
