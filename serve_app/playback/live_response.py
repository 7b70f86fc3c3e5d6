"""A take over HTTP while it is being made: its WAV from the first byte on, or its bare samples.

How long it will be is known before it begins, so the header of the WAV and the Content-Length are exact; where
the take breaks off, the client has fewer bytes than it was told.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import StrEnum
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from deployments.audio.pcm import L16_BYTES, l16
from deployments.audio.wav import BYTES_PER_SAMPLE, wav_header
from serve_app.http.ranges import ByteRange, parse_range
from serve_app.http.streaming import WholeResponse
from serve_app.playback.live_audio import LiveSound


class LiveFormat(StrEnum):
    """`wav` is byte for byte what the node will be, `f32` its samples without the header, `l16` the same rounded
    to 16 bits, big-endian: `audio/L16` of RFC 2586."""

    WAV = "wav"
    F32 = "f32"
    L16 = "l16"


_MEDIA_TYPES = {
    LiveFormat.WAV: "audio/wav",
    LiveFormat.F32: "application/octet-stream",
    LiveFormat.L16: "audio/L16",
}
_MEDIA_RANGES = {
    "audio/l16": LiveFormat.L16,
    "audio/wav": LiveFormat.WAV,
    "audio/x-wav": LiveFormat.WAV,
    "audio/*": LiveFormat.WAV,
    "*/*": LiveFormat.WAV,
}


def accepted(accept: str) -> LiveFormat:
    """What an Accept header asks for: the first thing in it that there is, or else the WAV."""
    ranges = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    return next((_MEDIA_RANGES[found] for found in ranges if found in _MEDIA_RANGES), LiveFormat.WAV)


def live_head(wanted: LiveFormat) -> Response:
    """Answers HEAD before there is anything to tell but that it can be waited for."""
    return Response(headers=_HEADERS, media_type=_MEDIA_TYPES[wanted])


def live_response(request: Request, sound: LiveSound, wanted: LiveFormat) -> Response:
    """200 with all of it, or 206 with the range that was asked for. Raises RangeNotSatisfiable.

    A range is no more than a place to go on from, or what some players ask for before they play: there is no
    ETag yet, so one under a condition (If-Range) is answered with all.
    """
    rate_hz, channels = sound.format.rate_hz, sound.format.channels
    header, media_type, sample_bytes = b"", _MEDIA_TYPES[wanted], BYTES_PER_SAMPLE
    match wanted:
        case LiveFormat.WAV:
            header = wav_header(sound.samples, channels, rate_hz)
        case LiveFormat.L16:
            media_type, sample_bytes = f"{media_type};rate={rate_hz};channels={channels}", L16_BYTES
    size = len(header) + sound.samples * channels * sample_bytes
    headers = {
        **_HEADERS,
        "Content-Length": str(size),
        "X-Segue-Sample-Rate": str(rate_hz),
        "X-Segue-Channels": str(channels),
        "X-Segue-Samples": str(sound.samples),
    }
    content = _content(sound, header, wanted)
    part = parse_range(request.headers.get("range"), size) if "if-range" not in request.headers else None
    if part is None:
        return WholeResponse(content, headers=headers, media_type=media_type)
    headers["Content-Length"] = str(part.length)
    headers["Content-Range"] = f"bytes {part.start}-{part.last}/{size}"
    return WholeResponse(
        _cut(content, part), HTTPStatus.PARTIAL_CONTENT, headers=headers, media_type=media_type
    )


_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-store",
    "Vary": "Accept",
    "X-Accel-Buffering": "no",
}


async def _content(sound: LiveSound, header: bytes, wanted: LiveFormat) -> AsyncGenerator[bytes]:
    async with aclosing(sound.data) as stretches:
        if header:
            yield header
        async for stretch in stretches:
            yield l16(stretch) if wanted is LiveFormat.L16 else stretch


async def _cut(content: AsyncGenerator[bytes], part: ByteRange) -> AsyncGenerator[bytes]:
    """The part's bytes, as soon as each is there."""
    position = 0
    async with aclosing(content) as pieces:
        async for piece in pieces:
            wanted = piece[max(0, part.start - position) : max(0, part.last + 1 - position)]
            position += len(piece)
            if wanted:
                yield wanted
            if position > part.last:
                return
