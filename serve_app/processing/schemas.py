"""The processing pipeline: what it is asked to do, and its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from deployments.specs.process import ProcessSpec, delivered
from deployments.stages.pipeline.encode import Delivery
from serve_app.http.fields import (
    AudioFormatName,
    ErrorView,
    Flag,
    Integer,
    Number,
    ProgressOf,
    TrackView,
    error_view,
    progress_of_job,
    track_view,
)
from serve_app.processing.service import ProcessRequest
from serve_app.stems.schemas import NewStems
from storage.domain.jobs import Job
from storage.domain.model import Track
from storage.domain.records import format_time


class NewProcess(NewStems):
    """The form fields of `POST /process` beside its `file`."""

    harmonic_percussive: Flag = True
    composite: Annotated[Flag, Field(description="main, main_harmonic, main_percussive")] = True
    normalize: Annotated[
        Literal["off", "peak", "lufs"] | None, Field(description="of the copies {track}_normalized")
    ] = None
    target_db: Annotated[Number | None, Field(ge=-70, le=0, description="dBTP (peak) or LUFS (lufs)")] = None
    format: AudioFormatName = "wav"
    bit_depth: Annotated[
        Integer | None, Field(description="wav: 16, 24 or 32 (float, the default); flac, aiff: 16 or 24")
    ] = None

    def request(self) -> ProcessRequest:
        return ProcessRequest(
            model=self.model,
            options=self.options(),
            harmonic_percussive=self.harmonic_percussive,
            composite=self.composite,
            normalize=self.normalize,
            target_db=self.target_db,
            delivery=Delivery(self.format, self.bit_depth),
        )

    @model_validator(mode="after")
    def _deliverable(self) -> Self:
        Delivery(self.format, self.bit_depth)
        return self


class StageRecordView(BaseModel):
    name: str
    state: str
    seconds: float
    parameters: dict[str, Any]
    outputs: list[TrackView]
    error: ErrorView | None = None


class SourceView(BaseModel):
    filename: str
    duration_s: float
    samples: int
    sample_rate_hz: int
    channels: int
    rms_dbfs: float
    peak_dbfs: float
    sha256: Annotated[str, Field(description="of the track as a 32-bit float WAV")]


class ManifestView(BaseModel):
    """All that is known of one processing job. Equal source and parameters give outputs of equal hashes."""

    job_id: str
    status: str
    progress: float
    attempt: int
    source: SourceView
    parameters: dict[str, Any]
    stages: list[StageRecordView]
    outputs: list[str]
    error: ErrorView | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class OutputsView(BaseModel):
    job_id: str
    status: str
    outputs: list[TrackView]
    archive_url: str


class ProcessAcceptedView(BaseModel):
    job_id: str
    status: str
    status_url: str
    outputs_url: str


def process_accepted_view(job: Job) -> ProcessAcceptedView:
    return ProcessAcceptedView(
        job_id=job.id,
        status=job.state.value,
        status_url=f"/job/{job.id}",
        outputs_url=f"/job/{job.id}/outputs",
    )


def manifest_view(job: Job, progress_of: ProgressOf) -> ManifestView:
    spec = ProcessSpec.from_record(job.params)
    source = spec.source
    return ManifestView(
        job_id=job.id,
        status=job.state.value,
        progress=progress_of_job(job, progress_of),
        attempt=job.attempt,
        source=SourceView(
            filename=spec.filename,
            duration_s=source.duration_s,
            samples=source.samples,
            sample_rate_hz=source.sample_rate_hz,
            channels=source.channels,
            rms_dbfs=source.rms_dbfs,
            peak_dbfs=source.peak_dbfs,
            sha256=source.blob.sha256,
        ),
        parameters=spec.plan.to_record(),
        stages=[
            StageRecordView(
                name=stage.name,
                state=stage.state.value,
                seconds=stage.seconds,
                parameters=dict(stage.params),
                outputs=[track_view(track, _download_url(job, track)) for track in stage.tracks],
                error=error_view(stage.error),
            )
            for stage in job.stages
            if stage.name != job.kind.value  # the whole, of a job that ended before its first stage did
        ],
        outputs=[track.name for track in delivered(job)],
        error=error_view(job.error) if job.state.is_finished else None,
        created_at=format_time(job.created_at),
        started_at=None if job.started_at is None else format_time(job.started_at),
        finished_at=None if job.finished_at is None else format_time(job.finished_at),
    )


def outputs_view(job: Job, tracks: Sequence[Track]) -> OutputsView:
    return OutputsView(
        job_id=job.id,
        status=job.state.value,
        outputs=[track_view(track, _download_url(job, track)) for track in tracks],
        archive_url=f"/download/{job.id}/all",
    )


def _download_url(job: Job, track: Track) -> str:
    return f"/download/{job.id}/{track.name}"
