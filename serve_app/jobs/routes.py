"""Jobs and exports: list, read, cancel, follow, download."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from serve_app.access.callers import CurrentCaller
from serve_app.http.dependencies import Cursor, Limit, Progress, service
from serve_app.http.fields import damaged_view
from serve_app.http.problems import problem_responses
from serve_app.jobs.schemas import JobListView, JobView, job_view
from serve_app.jobs.service import JobService

Jobs = Annotated[JobService, service(JobService)]

router = APIRouter(prefix="/v1", tags=["jobs"])


@router.get("/jobs", response_model=JobListView)
async def list_jobs(
    caller: CurrentCaller,
    jobs: Jobs,
    progress: Progress,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> JobListView:
    """The newest first, as their records say."""
    page = await jobs.page(caller.tenant, cursor, limit)
    shown = [job_view(job, progress) for job in page.jobs]
    damaged = [damaged_view(record) for record in page.damaged]
    return JobListView(jobs=shown, cursor=page.cursor, damaged=damaged)


@router.get("/jobs/{job_id}", response_model=JobView, responses=problem_responses(404, 500))
async def read_job(job_id: str, caller: CurrentCaller, jobs: Jobs, progress: Progress) -> JobView:
    return job_view(await jobs.read(caller.tenant, job_id), progress)


@router.delete("/jobs/{job_id}", response_model=JobView, responses=problem_responses(404))
async def cancel_job(job_id: str, caller: CurrentCaller, jobs: Jobs, progress: Progress) -> JobView:
    """Cancels an unfinished job; one that has ended stays as it is. A damaged one becomes a failed one."""
    job = await jobs.cancel(caller.tenant, job_id)
    return job_view(job, progress)
