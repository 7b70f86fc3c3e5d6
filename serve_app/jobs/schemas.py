"""Jobs as clients follow them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from serve_app.http.fields import (
    DamagedView,
    ErrorView,
    ProgressOf,
    error_view,
    outlook_of_job,
    progress_of_job,
)
from storage.domain.jobs import Job
from storage.domain.records import format_time


class StageView(BaseModel):
    name: str
    seconds: float
    state: str


class JobView(BaseModel):
    id: str
    job_id: str
    kind: str
    state: str
    attempt: int
    progress: float
    queue_position: Annotated[
        int | None, Field(description="1: the next one; null once it runs, or where it is not known")
    ] = None
    eta_s: Annotated[
        float | None, Field(description="until its end, at the measured speed of the model; null: not known")
    ] = None
    cancel_requested: bool
    chain_id: str | None
    node_id: str | None
    stages: list[StageView]
    result: dict[str, Any] | None
    error: ErrorView | None
    created_at: str
    updated_at: str
    started_at: str | None
    finished_at: str | None


class JobListView(BaseModel):
    """`damaged` are the page's jobs that are there and cannot be read; each can be deleted."""

    jobs: list[JobView]
    cursor: str | None
    damaged: list[DamagedView] = []


def job_view(job: Job, progress_of: ProgressOf) -> JobView:
    outlook = outlook_of_job(job, progress_of)
    return JobView(
        id=job.id,
        job_id=job.id,
        kind=job.kind.value,
        state=job.state.value,
        attempt=job.attempt,
        progress=progress_of_job(job, progress_of),
        queue_position=outlook.queue_position,
        eta_s=outlook.eta_s,
        cancel_requested=job.cancel_requested,
        chain_id=job.chain_id,
        node_id=job.node_id,
        stages=[
            StageView(name=stage.name, seconds=stage.seconds, state=stage.state.value) for stage in job.stages
        ],
        result=None if job.result is None else dict(job.result),
        error=error_view(job.error),
        created_at=format_time(job.created_at),
        updated_at=format_time(job.updated_at),
        started_at=None if job.started_at is None else format_time(job.started_at),
        finished_at=None if job.finished_at is None else format_time(job.finished_at),
    )
