"""What several routes share: dependencies, forms, and the answer that carries a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from serve_app.http.fields import FROM_TEXT
from serve_app.http.ranges import REVALIDATED, blob_response
from serve_app.playback.audio import AudioFile, AudioService
from serve_app.wiring import Services

_Form = TypeVar("_Form", bound=BaseModel)


async def services_of(request: Request) -> Services:
    """Async for the same reason as `access.current_caller`."""
    services: Services = request.app.state.services
    return services


Provided = Annotated[Services, Depends(services_of)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Makes a repetition of this request find the first one's work, for 24 h",
    ),
]

Cursor = Annotated[
    str | None,
    Query(max_length=100, pattern=r"^[0-9]{13}-[A-Za-z0-9_-]+$", description="From the page before"),
]
Limit = Annotated[int, Query(ge=1, le=200)]

ELSEWHERE: dict[int | str, dict[str, Any]] = {
    307: {"description": "Where `storage.presign` is on: to the file in the object store"}
}


def form_body(form: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI is told of a form that the route reads by itself; `api` has its schema."""
    content = {"multipart/form-data": {"schema": {"$ref": f"#/components/schemas/{form.__name__}"}}}
    return {"requestBody": {"required": True, "content": content}}


def parse_form(form: type[_Form], fields: Mapping[str, Any]) -> _Form:
    """Empty fields count as left out: browsers send them. Raises RequestValidationError."""
    try:
        given = {name: value for name, value in fields.items() if value != ""}
        return form.model_validate(given, context=FROM_TEXT)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


async def file_response(
    request: Request,
    audio: AudioService,
    tenant: str,
    file: AudioFile,
    *,
    disposition: Literal["inline", "attachment"] = "inline",
    cache_control: str = REVALIDATED,
) -> Response:
    """The file, with Range, ETag and HEAD, or the way to it in the store."""
    return await blob_response(
        request,
        size=file.ref.size_bytes,
        etag=file.ref.sha256,
        media_type=file.media_type,
        filename=file.filename,
        read=lambda start, length: audio.read(tenant, file, start, length),
        link=lambda content_disposition: audio.link(tenant, file, content_disposition),
        disposition=disposition,
        cache_control=cache_control,
        extra_headers=file.headers,
    )
