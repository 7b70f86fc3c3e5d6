"""Chains: upload or generate, list, read, rename, delete, export, and their events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from deployments.audio.decode.formats import ACCEPTED
from deployments.engines.music.protocol import GenerationMode
from deployments.temporary import temporary_folder
from serve_app.access.callers import CurrentCaller
from serve_app.chains.branching import branch_request
from serve_app.chains.schemas import (
    ChainListView,
    ChainPatch,
    ChainView,
    NewChain,
    NewExport,
    SpineView,
    chain_view,
    spine_view,
)
from serve_app.exports.service import ExportRequest
from serve_app.http.dependencies import Cursor, IdempotencyKey, Limit, Provided, file_response
from serve_app.http.fields import MAX_TITLE_CHARS, damaged_view
from serve_app.http.multipart import receive_upload
from serve_app.http.problems import (
    Conflict,
    FieldError,
    Problem,
    Unprocessable,
    UnsupportedMediaType,
    problem_responses,
)
from serve_app.http.sse import EventStreamResponse, last_event_id
from serve_app.http.streaming import started
from serve_app.jobs.schemas import JobView, job_view
from serve_app.playback.audio import AudioFile, export_headers
from storage.domain.jobs import JobState

router = APIRouter(prefix="/v1/chains", tags=["chains"])

NEW_CHAIN_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": ACCEPTED,
                        },
                        "title": {"type": "string", "maxLength": MAX_TITLE_CHARS},
                    },
                }
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/NewChain"}},
        },
    }
}


@router.post(
    "",
    status_code=201,
    response_model=ChainView,
    openapi_extra=NEW_CHAIN_BODY,
    responses=problem_responses(413, 415, 422, 429),
)
async def create_chain(
    request: Request, caller: CurrentCaller, services: Provided, key: IdempotencyKey = None
) -> ChainView:
    """A new chain: its root is an uploaded clip, or generated from a prompt (then it is pending, with a
    `job_id`)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        wanted = _new_chain(await request.body())
        made = await services.takes.generate_root(
            caller.tenant,
            wanted.title,
            branch_request(services.settings.generation, wanted, mode=GenerationMode.TEXT),
            key,
        )
        return chain_view(made.chain, services.listener.progress_of, job_id=made.jobs[0].id)
    if media_type != "multipart/form-data":
        raise UnsupportedMediaType("send multipart/form-data with a part named file, or application/json")
    await services.uploads.require_room(caller.tenant, key)
    with temporary_folder("spool") as folder:
        limit = services.settings.uploads.max_bytes
        async with receive_upload(request, max_bytes=limit, spool_dir=folder) as received:
            unknown = [
                FieldError(name, "there is no such field") for name in received.fields if name != "title"
            ]
            if unknown:
                detail = f"{unknown[0].field}: {unknown[0].message}"
                raise Unprocessable(detail, errors=unknown, code="invalid-form")
            title = received.fields.get("title", Path(received.filename).stem[:MAX_TITLE_CHARS])
            if len(title) > MAX_TITLE_CHARS:
                detail = f"the title may have at most {MAX_TITLE_CHARS} characters"
                raise Unprocessable(detail, errors=[FieldError("title", detail)])
            chain = await services.uploads.upload(caller.tenant, received, title, key)
    return chain_view(chain, services.listener.progress_of)


@router.get("", response_model=ChainListView)
async def list_chains(
    caller: CurrentCaller, services: Provided, cursor: Cursor = None, limit: Limit = 50
) -> ChainListView:
    """The newest first."""
    page = await services.chains.page(caller.tenant, cursor, limit)
    shown = [chain_view(chain, services.listener.progress_of) for chain in page.chains]
    damaged = [damaged_view(record) for record in page.damaged]
    return ChainListView(chains=shown, cursor=page.cursor, damaged=damaged)


@router.get("/{chain_id}", response_model=ChainView, responses=problem_responses(404, 500))
async def read_chain(chain_id: str, caller: CurrentCaller, services: Provided) -> ChainView:
    return chain_view(await services.chains.read(caller.tenant, chain_id), services.listener.progress_of)


@router.patch("/{chain_id}", response_model=ChainView, responses=problem_responses(404, 422))
async def rename_chain(
    chain_id: str, patch: ChainPatch, caller: CurrentCaller, services: Provided
) -> ChainView:
    chain = await services.chains.rename(caller.tenant, chain_id, patch.title)
    return chain_view(chain, services.listener.progress_of)


@router.delete("/{chain_id}", status_code=204, responses=problem_responses(404))
async def delete_chain(chain_id: str, caller: CurrentCaller, services: Provided) -> Response:
    """Deletes the chain, a damaged one too, and cancels its unfinished jobs. Deleting twice is 404."""
    await services.chains.delete(caller.tenant, chain_id)
    return Response(status_code=204)


@router.get("/{chain_id}/spine", response_model=SpineView, responses=problem_responses(404))
async def read_spine(chain_id: str, caller: CurrentCaller, services: Provided) -> SpineView:
    """The committed nodes in order, with where each begins."""
    chain = await services.chains.read(caller.tenant, chain_id)
    return spine_view(chain, services.listener.progress_of)


@router.get(
    "/{chain_id}/events",
    status_code=200,
    response_class=EventStreamResponse,
    responses=problem_responses(404),
)
async def chain_events(
    chain_id: str,
    request: Request,
    caller: CurrentCaller,
    services: Provided,
    last_event_id_header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    last_event_id_query: Annotated[str | None, Query(alias="last_event_id")] = None,
) -> EventStreamResponse:
    """`snapshot`, then `node` (upserts), `chain` (the last of a change, with the id to resume from) and
    `progress`."""
    frames = services.streams.chain(caller.tenant, chain_id, last_event_id(request))
    return EventStreamResponse(await started(frames))


@router.post(
    "/{chain_id}/export",
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
    services: Provided,
    key: IdempotencyKey = None,
    prefer: Annotated[str, Header()] = "",
) -> Response:
    """The spine as one file: at once if it is made in time, else a job. `X-Segue-Clipped-Samples`, and the job's
    `result.clipped_samples`, count what was over full scale and is cut there; a 32-bit float WAV keeps it."""
    options = ExportRequest(wanted.format, wanted.bit_depth, wanted.sample_rate_hz)
    try:
        job = await services.exports.start(caller.tenant, chain_id, options, key)
    except ValueError as error:
        raise Unprocessable(str(error), errors=[FieldError("bit_depth", str(error))]) from error
    async_wanted = "respond-async" in prefer.lower()
    if not async_wanted:
        job = await services.exports.wait(job)
    if job.state is JobState.CANCELLED:
        raise Conflict("the export was cancelled", code="export-cancelled", members={"job_id": job.id})
    if job.state is JobState.FAILED:
        detail = job.error.detail if job.error is not None else "the export failed"
        raise Problem(detail, status=500, code="export-failed", members={"job_id": job.id})
    if async_wanted or job.result is None:
        return JSONResponse(
            job_view(job, services.listener.progress_of).model_dump(),
            status_code=202,
            headers={
                "Location": f"/v1/jobs/{job.id}",
                **({"Preference-Applied": "respond-async"} if async_wanted else {}),
            },
        )
    export = await services.exports.read(caller.tenant, str(job.result["export_id"]))
    file = AudioFile(export.blob, export.media_type, export.filename, headers=export_headers(export))
    response = await file_response(request, services.audio, caller.tenant, file, disposition="attachment")
    response.headers["Content-Location"] = f"/v1/exports/{export.id}/file"
    response.headers["X-Segue-Export-Id"] = export.id
    return response


def _new_chain(body: bytes) -> NewChain:
    try:
        return NewChain.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(
            [{**found, "loc": ("body", *found["loc"])} for found in error.errors()]
        ) from error
