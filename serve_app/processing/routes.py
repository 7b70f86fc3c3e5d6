"""The processing pipeline: upload a track, follow its job, download what was made of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from deployments.export.formats import format_named
from deployments.specs.process import ProcessSpec
from deployments.temporary import temporary_folder
from serve_app.access.callers import CallerWithStems, CurrentCaller
from serve_app.http.dependencies import (
    Configured,
    IdempotencyKey,
    Progress,
    form_body,
    parse_form,
    service,
)
from serve_app.http.middleware import declared_length
from serve_app.http.multipart import receive_upload
from serve_app.http.problems import problem_responses
from serve_app.http.ranges import content_disposition, ranged_response
from serve_app.http.streaming import WholeResponse, started
from serve_app.playback.audio import AudioFile, AudioService
from serve_app.playback.files import AUDIO, REDIRECTING, file_answers, file_response
from serve_app.processing.archive import ArchiveFile, Compression, sliced, zip_size_bytes, zip_stream
from serve_app.processing.schemas import (
    ManifestView,
    NewProcess,
    OutputsView,
    ProcessAcceptedView,
    manifest_view,
    outputs_view,
    process_accepted_view,
)
from serve_app.processing.service import ProcessService
from serve_app.system.service import SystemService
from storage.domain.accounts import Amounts
from storage.domain.jobs import Job

Audio = Annotated[AudioService, service(AudioService)]
Processing = Annotated[ProcessService, service(ProcessService)]
System = Annotated[SystemService, service(SystemService)]

router = APIRouter(tags=["processing"])

MAX_FIELDS = 24


@router.post(
    "/process",
    status_code=202,
    response_model=ProcessAcceptedView,
    openapi_extra=form_body(NewProcess),
    responses=problem_responses(401, 403, 413, 415, 422, 429),
)
async def process(
    request: Request,
    caller: CallerWithStems,
    processing: Processing,
    settings: Configured,
    key: IdempotencyKey = None,
) -> ProcessAcceptedView:
    """Takes a track (part `file`, up to 500 MB by default) apart: stems and residual, harmonic and percussive
    part, the backing without vocals, and copies of each at one loudness."""
    await processing.require_room(caller.tenant, key)
    with temporary_folder("spool") as folder:
        limit = settings.process.max_bytes
        async with (
            processing.quotas.uploading(declared_length(request.headers), limit) as usage,
            receive_upload(request, max_bytes=limit, spool_dir=folder, max_fields=MAX_FIELDS) as received,
        ):
            usage.take(Amounts(upload_bytes=received.size_bytes))
            wanted = parse_form(NewProcess, _unpacked(received.fields))
            plan = processing.plan(wanted.request())
            job = await processing.start(caller.tenant, received, plan, key)
    return process_accepted_view(job)


@router.get("/job/{job_id}", response_model=ManifestView, responses=problem_responses(401, 404))
async def read_job(
    job_id: str,
    caller: CurrentCaller,
    processing: Processing,
    progress: Progress,
) -> ManifestView:
    """The manifest: every stage with its state, parameters, time and outputs; what is still to come is missing."""
    job = await processing.read(caller.tenant, job_id)
    return manifest_view(job, progress)


@router.get("/job/{job_id}/outputs", response_model=OutputsView, responses=problem_responses(401, 404, 410))
async def list_outputs(job_id: str, caller: CurrentCaller, processing: Processing) -> OutputsView:
    """The tracks that can be downloaded by now."""
    job = await processing.read(caller.tenant, job_id)
    return outputs_view(job, processing.outputs(job))


# Declared before the route of one track: `all` is never a track's name.
@router.head("/download/{job_id}/all", include_in_schema=False)
@router.get(
    "/download/{job_id}/all",
    response_class=Response,
    responses=file_answers("application/zip", problems=(401, 404, 409, 410)),
)
async def download_all(
    job_id: str,
    request: Request,
    caller: CurrentCaller,
    processing: Processing,
    progress: Progress,
    compression: Annotated[Compression, Query()] = Compression.STORED,
) -> Response:
    """All tracks and manifest.json as one ZIP, made while it is sent. A stored one has a length, an ETag and Range;
    how long a deflated one is shows when all of it has been sent."""
    job = await processing.read(caller.tenant, job_id)
    tracks = processing.all_outputs(job)
    filename = f"{_stem(job)}.zip"
    manifest = manifest_view(job, progress).model_dump_json(indent=2).encode()
    files = [
        ArchiveFile("manifest.json", len(manifest), _once(manifest)),
        *(
            ArchiveFile(
                f"{track.name}{format_named(track.format).suffix}",
                track.blob.size_bytes,
                processing.content(caller.tenant, track),
            )
            for track in tracks
        ),
    ]
    if compression is Compression.STORED:

        async def content(start: int, length: int) -> AsyncIterator[bytes]:
            return await started(sliced(zip_stream(files, job.created_at, compression), start, length))

        parts = [manifest, *(track.blob.sha256.encode() for track in tracks)]
        return await ranged_response(
            request,
            size=zip_size_bytes(files),
            etag=hashlib.sha256(b"\0".join(parts)).hexdigest(),
            media_type="application/zip",
            filename=filename,
            content=content,
        )
    headers = {
        "Content-Disposition": content_disposition(filename, "attachment"),
        "Cache-Control": "no-store",
        "Accept-Ranges": "none",
    }
    if request.method == "HEAD":
        return StreamingResponse(_nothing(), headers=headers, media_type="application/zip")
    pieces = await started(zip_stream(files, job.created_at, compression))
    return WholeResponse(pieces, headers=headers, media_type="application/zip")


@router.head("/download/{job_id}/{track}", include_in_schema=False)
@router.get(
    "/download/{job_id}/{track}",
    response_class=Response,
    responses=file_answers(*AUDIO, problems=(401, 404, 409, 410)),
    dependencies=REDIRECTING,
)
async def download(
    job_id: str,
    track: str,
    request: Request,
    caller: CurrentCaller,
    processing: Processing,
    audio: Audio,
) -> Response:
    """One track, in the format that was asked for."""
    job = await processing.read(caller.tenant, job_id)
    found = processing.output(job, track)
    form = format_named(found.format)
    file = AudioFile(found.blob, form.mime_type, f"{_stem(job)}-{found.name}{form.suffix}")
    return await file_response(request, audio, caller.tenant, file, disposition="attachment")


@router.get("/config")
async def config(system: System) -> dict[str, Any]:
    """What the pipeline takes and does, for who builds a form for it."""
    return system.pipeline_settings()


def _unpacked(fields: Mapping[str, str]) -> dict[str, Any]:
    """`stems` may be a JSON list, or names and commas."""
    text = fields.get("stems", "").strip()
    if not text:
        return dict(fields)
    try:
        stems = json.loads(text) if text.startswith("[") else text.split(",")
    except (ValueError, RecursionError):  # no list of names, however it is nested
        stems = [text]
    return {**fields, "stems": stems}


def _stem(job: Job) -> str:
    return Path(ProcessSpec.from_record(job.params).filename).stem or job.id


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
