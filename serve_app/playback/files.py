"""The answer that carries a stored file."""

from __future__ import annotations

from typing import Literal

from fastapi import Request, Response

from serve_app.http.ranges import REVALIDATED, blob_response
from serve_app.playback.audio import AudioFile, AudioService


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
