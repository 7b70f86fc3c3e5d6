"""Chains: upload or generate, list, read, rename, delete, export, and their events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
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
    SpineView,
    chain_view,
    spine_view,
)
from serve_app.chains.service import ChainService
from serve_app.chains.takes import TakeService
from serve_app.chains.uploads import UploadService
from serve_app.http.dependencies import Configured, Cursor, IdempotencyKey, Limit, Progress, service
from serve_app.http.fields import MAX_TITLE_CHARS, damaged_view
from serve_app.http.middleware import declared_length
from serve_app.http.multipart import receive_upload
from serve_app.http.problems import (
    FieldError,
    Unprocessable,
    UnsupportedMediaType,
    problem_responses,
)

Chains = Annotated[ChainService, service(ChainService)]
Takes = Annotated[TakeService, service(TakeService)]
Uploads = Annotated[UploadService, service(UploadService)]

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
    responses=problem_responses(403, 413, 415, 422, 429),
)
async def create_chain(
    request: Request,
    caller: CurrentCaller,
    takes: Takes,
    settings: Configured,
    progress: Progress,
    uploads: Uploads,
    key: IdempotencyKey = None,
) -> ChainView:
    """A new chain: its root is an uploaded clip, or generated from a prompt (then it is pending, with a
    `job_id`)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        wanted = _new_chain(await request.body())
        made = await takes.generate_root(
            caller.tenant,
            wanted.title,
            branch_request(settings.generation, wanted, mode=GenerationMode.TEXT),
            key,
        )
        return chain_view(made.chain, progress, job_id=made.jobs[0].id)
    if media_type != "multipart/form-data":
        raise UnsupportedMediaType("send multipart/form-data with a part named file, or application/json")
    with temporary_folder("spool") as folder:
        limit = settings.uploads.max_bytes
        async with (
            uploads.quotas.uploading(declared_length(request.headers), limit) as usage,
            receive_upload(request, max_bytes=limit, spool_dir=folder) as received,
        ):
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
            chain = await uploads.upload(caller.tenant, received, title, key, usage)
    return chain_view(chain, progress)


@router.get("", response_model=ChainListView)
async def list_chains(
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> ChainListView:
    """The newest first."""
    page = await chains.page(caller.tenant, cursor, limit)
    shown = [chain_view(chain, progress) for chain in page.chains]
    damaged = [damaged_view(record) for record in page.damaged]
    return ChainListView(chains=shown, cursor=page.cursor, damaged=damaged)


@router.get("/{chain_id}", response_model=ChainView, responses=problem_responses(404, 500))
async def read_chain(
    chain_id: str,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
) -> ChainView:
    return chain_view(await chains.read(caller.tenant, chain_id), progress)


@router.patch("/{chain_id}", response_model=ChainView, responses=problem_responses(404, 422))
async def rename_chain(
    chain_id: str,
    patch: ChainPatch,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
) -> ChainView:
    chain = await chains.rename(caller.tenant, chain_id, patch.title)
    return chain_view(chain, progress)


@router.delete("/{chain_id}", status_code=204, responses=problem_responses(404))
async def delete_chain(chain_id: str, caller: CurrentCaller, chains: Chains) -> Response:
    """Deletes the chain, a damaged one too, and cancels its unfinished jobs. Deleting twice is 404."""
    await chains.delete(caller.tenant, chain_id)
    return Response(status_code=204)


@router.get("/{chain_id}/spine", response_model=SpineView, responses=problem_responses(404))
async def read_spine(
    chain_id: str,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
) -> SpineView:
    """The committed nodes in order, with where each begins."""
    chain = await chains.read(caller.tenant, chain_id)
    return spine_view(chain, progress)


def _new_chain(body: bytes) -> NewChain:
    try:
        return NewChain.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(
            [{**found, "loc": ("body", *found["loc"])} for found in error.errors()]
        ) from error
