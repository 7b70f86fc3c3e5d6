"""Exports: ask for the spine as one file, download it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from serve_app.access.callers import CurrentCaller
from serve_app.chains.schemas import NewExport
from serve_app.exports.service import ExportRequest, ExportService
from serve_app.http.dependencies import IdempotencyKey, Progress, service
from serve_app.http.problems import Conflict, FieldError, Problem, Unprocessable, problem_responses
from serve_app.http.ranges import IMMUTABLE
from serve_app.jobs.schemas import JobView, job_view
from serve_app.playback.audio import AudioFile, AudioService, export_headers
from serve_app.playback.files import AUDIO, REDIRECTING, file_answers, file_response
from storage.domain.jobs import JobState

Audio = Annotated[AudioService, service(AudioService)]
Exports = Annotated[ExportService, service(ExportService)]

router = APIRouter()


@router.post(
    "/v1/chains/{chain_id}/export",
    tags=["chains"],
    responses={
        200: {"description": "The file", "content": {"audio/wav": {}, "audio/flac": {}, "audio/mpeg": {}}},
        202: {"model": JobView, "description": "Not done yet: `result.export_id` when it is"},
        **problem_responses(404, 409, 422, 429),
    },
)
async def export_chain(
    chain_id: str,
    wanted: NewExport,
    request: Request,
    caller: CurrentCaller,
    exports: Exports,
    progress: Progress,
    audio: Audio,
    key: IdempotencyKey = None,
    prefer: Annotated[str, Header()] = "",
) -> Response:
    """The spine as one file: at once if it is made in time, else a job. `X-Segue-Clipped-Samples`, and the job's
    `result.clipped_samples`, count what was over full scale and is cut there; a 32-bit float WAV keeps it."""
    options = ExportRequest(wanted.format, wanted.bit_depth, wanted.sample_rate_hz)
    try:
        job = await exports.start(caller.tenant, chain_id, options, key)
    except ValueError as error:
        raise Unprocessable(str(error), errors=[FieldError("bit_depth", str(error))]) from error
    async_wanted = "respond-async" in prefer.lower()
    if not async_wanted:
        job = await exports.wait(job)
    if job.state is JobState.CANCELLED:
        raise Conflict("the export was cancelled", code="export-cancelled", members={"job_id": job.id})
    if job.state is JobState.FAILED:
        detail = job.error.detail if job.error is not None else "the export failed"
        raise Problem(detail, status=500, code="export-failed", members={"job_id": job.id})
    if async_wanted or job.result is None:
        return JSONResponse(
            job_view(job, progress).model_dump(),
            status_code=202,
            headers={
                "Location": f"/v1/jobs/{job.id}",
                **({"Preference-Applied": "respond-async"} if async_wanted else {}),
            },
        )
    export = await exports.read(caller.tenant, str(job.result["export_id"]))
    file = AudioFile(export.blob, export.media_type, export.filename, headers=export_headers(export))
    response = await file_response(request, audio, caller.tenant, file, disposition="attachment")
    response.headers["Content-Location"] = f"/v1/exports/{export.id}/file"
    response.headers["X-Segue-Export-Id"] = export.id
    return response


@router.head("/v1/exports/{export_id}/file", tags=["jobs"], include_in_schema=False)
@router.get(
    "/v1/exports/{export_id}/file",
    tags=["jobs"],
    response_class=Response,
    responses=file_answers(*AUDIO, problems=(404,)),
    dependencies=REDIRECTING,
)
async def download_export(
    export_id: str,
    request: Request,
    caller: CurrentCaller,
    exports: Exports,
    audio: Audio,
) -> Response:
    export = await exports.read(caller.tenant, export_id)
    file = AudioFile(export.blob, export.media_type, export.filename, headers=export_headers(export))
    return await file_response(
        request, audio, caller.tenant, file, disposition="attachment", cache_control=IMMUTABLE
    )
