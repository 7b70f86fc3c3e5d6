"""A take over HTTP while it is being made: its WAV from the first byte on, or its bare samples.

How long it will be is known before it begins, so the header of the WAV and the Content-Length are exact; where
the take breaks off, the client has fewer bytes than it was told.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from enum import StrEnum
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from deployments.audio.pcm import L16_BYTES, l16
from deployments.audio.samples import SoundFormat
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
    """What an Accept header likes best of what there is, the first of equals; the WAV where it names nothing.

    `q` counts (RFC 9110, section 12.4.2): what has `q=0` is not given where there is another.
    """
    liked = [
        (_quality(parameters), _MEDIA_RANGES[name])
        for name, parameters in _parsed(accept)
        if name in _MEDIA_RANGES
    ]
    best = max((quality for quality, _ in liked), default=0.0)
    if best > 0.0:
        return next(form for quality, form in liked if quality == best)
    refused = {form for _, form in liked}
    return LiveFormat.L16 if refused == {LiveFormat.WAV} and "*" not in accept else LiveFormat.WAV


def _parsed(accept: str) -> Iterator[tuple[str, list[str]]]:
    for part in accept.split(","):
        name, *parameters = part.lower().split(";")
        yield name.strip(), parameters


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if _WEIGHT.fullmatch(value.strip()) else 0.0
    return 1.0


def live_head(wanted: LiveFormat, length: tuple[SoundFormat, int] | None) -> Response:
    """Answers HEAD as GET will be: with its length where that is known already."""
    if length is None:
        response = Response(headers=_HEADERS, media_type=_MEDIA_TYPES[wanted])
        del response.headers["content-length"]  # 0 would be a lie
        return response
    headers, media_type, _ = _described(wanted, *length)
    return Response(headers=headers, media_type=media_type)


def live_response(request: Request, sound: LiveSound, wanted: LiveFormat) -> Response:
    """200 with all of it, or 206 with the range that was asked for. Raises RangeNotSatisfiable.

    A range is no more than a place to continue from, or what some players ask for before they play: there is no
    ETag yet, so one under a condition (If-Range) is answered with all.
    """
    headers, media_type, header = _described(wanted, sound.format, sound.samples)
    size = int(headers["Content-Length"])
    content = _content(sound, header, wanted)
    part = parse_range(request.headers.get("range"), size) if "if-range" not in request.headers else None
    if part is None:
        return WholeResponse(content, headers=headers, media_type=media_type)
    headers["Content-Length"] = str(part.length)
    headers["Content-Range"] = f"bytes {part.start}-{part.last}/{size}"
    return WholeResponse(
        _cut(content, part), HTTPStatus.PARTIAL_CONTENT, headers=headers, media_type=media_type
    )


def _described(wanted: LiveFormat, sound: SoundFormat, samples: int) -> tuple[dict[str, str], str, bytes]:
    """The answer's headers, its media type, and what stands before the samples."""
    header, media_type, sample_bytes = b"", _MEDIA_TYPES[wanted], BYTES_PER_SAMPLE
    match wanted:
        case LiveFormat.WAV:
            header = wav_header(samples, sound.channels, sound.rate_hz)
        case LiveFormat.L16:
            media_type = f"{media_type};rate={sound.rate_hz};channels={sound.channels}"
            sample_bytes = L16_BYTES
    headers = {
        **_HEADERS,
        "Content-Length": str(len(header) + samples * sound.channels * sample_bytes),
        "X-Segue-Sample-Rate": str(sound.rate_hz),
        "X-Segue-Channels": str(sound.channels),
        "X-Segue-Samples": str(samples),
    }
    return headers, media_type, header


_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")

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
