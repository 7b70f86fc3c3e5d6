"""The answer that carries a stored file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response

from deployments.export.formats import AUDIO_FORMATS, FORMATS
from serve_app.http.problems import problem_responses
from serve_app.http.ranges import REVALIDATED, blob_response
from serve_app.playback.audio import AudioFile, AudioService
from serve_app.playback.lines import RenderedFile

AUDIO = tuple(FORMATS[name].mime_type for name in AUDIO_FORMATS)


def file_answers(*media_types: str, problems: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route that answers with `file_response`; `problems` are the statuses of its own."""
    return {
        200: {"content": {media_type: {} for media_type in media_types}},
        206: {"description": "The range asked for"},
        307: {"description": "Where `storage.presign` is on: to the file in the object store"},
        **problem_responses(*problems, 416),
    }


async def _redirect(
    request: Request,
    redirect: Annotated[
        bool,
        Query(
            description="false: the bytes come from this server, and never by a redirection to the object store, "
            "which a page of a browser cannot follow unless the bucket allows it"
        ),
    ] = True,
) -> None:
    request.state.redirect = redirect


REDIRECTING = [Depends(_redirect)]
"""The dependencies of every route that answers with `file_response`."""


async def file_response(
    request: Request,
    audio: AudioService,
    tenant: str,
    file: AudioFile,
    *,
    disposition: Literal["inline", "attachment"] = "inline",
    cache_control: str = REVALIDATED,
) -> Response:
    """The file, with Range, ETag and HEAD, or the way to it in the store if the client may be redirected."""

    async def link(content_disposition: str) -> str | None:
        if not getattr(request.state, "redirect", True):
            return None
        return await audio.link(tenant, file, content_disposition)

    return await blob_response(
        request,
        size=file.size_bytes,
        etag=file.sha256,
        media_type=file.media_type,
        filename=file.filename,
        read=lambda start, length: audio.read(tenant, file, start, length),
        link=link,
        disposition=disposition,
        cache_control=cache_control,
        extra_headers=file.headers,
    )


async def rendered_response(request: Request, rendered: RenderedFile, filename: str) -> Response:
    """Samples that are made while they are sent, with Range, ETag and HEAD."""
    file = rendered.file
    return await blob_response(
        request,
        size=file.size_bytes,
        etag=rendered.etag,
        media_type=file.format.media_type,
        filename=filename,
        read=file.read,
        disposition="inline",
        extra_headers=file.headers,
    )
