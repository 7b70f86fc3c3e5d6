"""Exports: ask for the spine as one file, download it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from deployments.export.c2pa import MANIFEST_SUFFIX, MANIFEST_TYPE
from deployments.export.formats import FORMATS
from serve_app.access.callers import CallerWithExport, CurrentCaller
from serve_app.exports.covers import MAX_URL_CHARS
from serve_app.exports.schemas import NewExport
from serve_app.exports.service import ExportService
from serve_app.http.dependencies import IdempotencyKey, Progress, service
from serve_app.http.middleware import lift_body_limit
from serve_app.http.problems import (
    Conflict,
    NotFound,
    PayloadTooLarge,
    Problem,
    UnsupportedMediaType,
    problem_responses,
)
from serve_app.http.ranges import IMMUTABLE
from serve_app.jobs.schemas import JobView, job_view
from serve_app.playback.audio import AudioFile, AudioService, export_headers
from serve_app.playback.files import REDIRECTING, file_answers, file_response
from storage.domain.jobs import JobState

Audio = Annotated[AudioService, service(AudioService)]
Exports = Annotated[ExportService, service(ExportService)]

router = APIRouter()

MAX_BODY_BYTES = MAX_URL_CHARS + 64 * 1024
"""A cover, and all else that an export is asked for with."""


@router.post(
    "/v1/chains/{chain_id}/export",
    tags=["chains"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewExport"}}},
        }
    },
    responses={
        200: {
            "description": "The file",
            "content": {form.mime_type: {} for form in FORMATS.values()},
        },
        202: {"model": JobView, "description": "Not done yet: `result.export_id` when it is"},
        **problem_responses(404, 409, 413, 415, 422, 429),
    },
)
async def export_chain(
    chain_id: str,
    request: Request,
    caller: CallerWithExport,
    exports: Exports,
    progress: Progress,
    audio: Audio,
    key: IdempotencyKey = None,
    prefer: Annotated[str, Header()] = "",
) -> Response:
    """A line as one file: at once if it is made in time, else a job. `X-Segue-Clipped-Samples`, and the job's
    `result.clipped_samples`, count what was over full scale and is cut there; a 32-bit float WAV keeps it."""
    wanted = await _wanted(request)
    job = await exports.start(caller.tenant, chain_id, wanted, key)
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
    responses=file_answers(*(form.mime_type for form in FORMATS.values()), problems=(404,)),
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


@router.head("/v1/exports/{export_id}/c2pa", tags=["jobs"], include_in_schema=False)
@router.get(
    "/v1/exports/{export_id}/c2pa",
    tags=["jobs"],
    response_class=Response,
    responses=file_answers(MANIFEST_TYPE, problems=(404,)),
    dependencies=REDIRECTING,
)
async def download_credentials(
    export_id: str,
    request: Request,
    caller: CurrentCaller,
    exports: Exports,
    audio: Audio,
) -> Response:
    """The content credentials of a signed export that does not hold them itself (Opus, AIFF, packages)."""
    export = await exports.read(caller.tenant, export_id)
    if export.manifest is None:
        raise NotFound(
            "there are no content credentials beside this file: it holds them itself, or is not signed"
        )
    filename = str(Path(export.filename).with_suffix(MANIFEST_SUFFIX))
    file = AudioFile(export.manifest, MANIFEST_TYPE, filename)
    return await file_response(
        request, audio, caller.tenant, file, disposition="attachment", cache_control=IMMUTABLE
    )


async def _wanted(request: Request) -> NewExport:
    """The body, which is larger than others where it has a cover. Raises UnsupportedMediaType, PayloadTooLarge,
    RequestValidationError."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("send application/json")
    lift_body_limit(request.scope)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise PayloadTooLarge(MAX_BODY_BYTES, what="The body")
    try:
        return NewExport.model_validate_json(bytes(body), by_name=False)
    except ValidationError as error:
        raise RequestValidationError(
            [{**found, "loc": ("body", *found["loc"])} for found in error.errors()]
        ) from error
