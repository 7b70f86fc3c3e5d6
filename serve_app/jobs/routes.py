"""Jobs and exports: list, read, cancel, follow, download."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from deployments.export.plan import AudioFormat
from serve_app.access.callers import CurrentCaller
from serve_app.http.dependencies import ELSEWHERE, Cursor, Limit, Provided, file_response
from serve_app.http.fields import damaged_view
from serve_app.http.problems import problem_responses
from serve_app.http.ranges import IMMUTABLE
from serve_app.http.sse import EventStreamResponse
from serve_app.http.streaming import started, unless_gone
from serve_app.jobs.schemas import JobListView, JobView, job_view
from serve_app.playback.audio import AudioFile, export_headers
from serve_app.playback.live_response import LiveFormat, accepted, live_head, live_response

router = APIRouter(prefix="/v1", tags=["jobs"])


@router.get("/jobs", response_model=JobListView)
async def list_jobs(
    caller: CurrentCaller, services: Provided, cursor: Cursor = None, limit: Limit = 50
) -> JobListView:
    """The newest first, as their records say."""
    page = await services.jobs.page(caller.tenant, cursor, limit)
    shown = [job_view(job, services.listener.progress_of) for job in page.jobs]
    damaged = [damaged_view(record) for record in page.damaged]
    return JobListView(jobs=shown, cursor=page.cursor, damaged=damaged)


@router.get("/jobs/{job_id}", response_model=JobView, responses=problem_responses(404, 500))
async def read_job(job_id: str, caller: CurrentCaller, services: Provided) -> JobView:
    return job_view(await services.jobs.read(caller.tenant, job_id), services.listener.progress_of)


@router.delete("/jobs/{job_id}", response_model=JobView, responses=problem_responses(404))
async def cancel_job(job_id: str, caller: CurrentCaller, services: Provided) -> JobView:
    """Cancels an unfinished job; one that has ended stays as it is. A damaged one becomes a failed one."""
    job = await services.jobs.cancel(caller.tenant, job_id)
    return job_view(job, services.listener.progress_of)


@router.get(
    "/jobs/{job_id}/events",
    status_code=200,
    response_class=EventStreamResponse,
    responses=problem_responses(404),
)
async def job_events(job_id: str, caller: CurrentCaller, services: Provided) -> EventStreamResponse:
    """`job` when its state changes and `progress` in between; ends with the job."""
    return EventStreamResponse(await started(services.streams.job(caller.tenant, job_id)))


@router.head("/jobs/{job_id}/audio", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/audio",
    response_class=Response,
    responses={
        200: {"content": {"audio/wav": {}, "audio/L16": {}, "application/octet-stream": {}}},
        206: {"description": "The range asked for"},
        **ELSEWHERE,
        **problem_responses(404, 409, 416, 503),
    },
)
async def job_audio(
    job_id: str,
    request: Request,
    caller: CurrentCaller,
    services: Provided,
    live_format: Annotated[LiveFormat | None, Query(alias="format")] = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """A take's new audio from its first sample on, while it is being made; then the node's own file.

    Opened early, it waits for the first samples; a take that ends before has a 409. One that breaks off later
    cuts the connection before the end that `Content-Length` told of. `f32` are the WAV's samples alone (float,
    little-endian), `l16` or `Accept: audio/L16` the same in 16 bits (big-endian); `X-Segue-Sample-Rate` and
    `X-Segue-Channels` tell the rest.
    """
    wanted = live_format or accepted(accept)
    node = await services.live.ready_node(caller.tenant, job_id)
    if node is not None and wanted is LiveFormat.WAV:
        file = await services.audio.file(caller.tenant, node, AudioFormat.WAV, f"take-{node.id[:8]}")
        return await file_response(request, services.audio, caller.tenant, file)
    if request.method == "HEAD":
        return live_head(wanted, await services.live.length(caller.tenant, job_id))
    sound = await unless_gone(request, services.live.open(caller.tenant, job_id))
    return live_response(request, sound, wanted)


@router.head("/exports/{export_id}/file", include_in_schema=False)
@router.get(
    "/exports/{export_id}/file",
    response_class=Response,
    responses={
        200: {"content": {"audio/wav": {}, "audio/flac": {}, "audio/mpeg": {}}},
        206: {"description": "The range asked for"},
        **ELSEWHERE,
        **problem_responses(404, 416),
    },
)
async def download_export(
    export_id: str, request: Request, caller: CurrentCaller, services: Provided
) -> Response:
    export = await services.exports.read(caller.tenant, export_id)
    file = AudioFile(export.blob, export.media_type, export.filename, headers=export_headers(export))
    return await file_response(
        request, services.audio, caller.tenant, file, disposition="attachment", cache_control=IMMUTABLE
    )
