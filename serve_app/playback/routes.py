"""Audio of nodes and of lines, of takes while they are being made, and outlines of waveforms."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from deployments.export.formats import AUDIO_FORMATS
from deployments.stages.peaks import PeaksStage
from serve_app.access.callers import CurrentCaller
from serve_app.chains.service import ChainService
from serve_app.http.dependencies import service
from serve_app.http.fields import OneOf
from serve_app.http.problems import Conflict, problem_responses
from serve_app.http.ranges import IMMUTABLE, blob_response
from serve_app.http.streaming import unless_gone
from serve_app.playback.audio import AudioService, node_stem
from serve_app.playback.files import AUDIO, REDIRECTING, file_answers, file_response, rendered_response
from serve_app.playback.lines import LineAudio
from serve_app.playback.live_audio import LiveAudio
from serve_app.playback.live_response import LiveFormat, accepted, live_head, live_response
from serve_app.playback.sample_file import SampleFormat

Audio = Annotated[AudioService, service(AudioService)]
Chains = Annotated[ChainService, service(ChainService)]
LineFiles = Annotated[LineAudio, service(LineAudio)]
Live = Annotated[LiveAudio, service(LiveAudio)]
Outlines = Annotated[PeaksStage, service(PeaksStage)]

router = APIRouter()

BARE = "application/octet-stream"


F32 = "f32"
"""The WAV's samples alone: interleaved, float, little-endian."""

NodeFormat = OneOf((*AUDIO_FORMATS, F32))


@router.head("/v1/chains/{chain_id}/nodes/{node_id}/audio", tags=["nodes"], include_in_schema=False)
@router.get(
    "/v1/chains/{chain_id}/nodes/{node_id}/audio",
    tags=["nodes"],
    response_class=Response,
    responses=file_answers(*AUDIO, BARE, problems=(404, 409)),
    dependencies=REDIRECTING,
)
async def listen(
    chain_id: str,
    node_id: str,
    request: Request,
    caller: CurrentCaller,
    chains: Chains,
    audio: Audio,
    lines: LineFiles,
    audio_format: Annotated[str, NodeFormat, Query(alias="format")] = "wav",
) -> Response:
    """The node's own new audio, without its parent's. What is over full scale in it is only in the WAV and in
    `f32`, which have floats: the other formats get less gain then, and `X-Segue-Gain-Db` says how much. `f32` are
    the WAV's samples alone (little-endian); `X-Segue-Sample-Rate` and `X-Segue-Channels` describe them."""
    chain = await chains.read(caller.tenant, chain_id)
    stem = node_stem(chain, node_id)
    if audio_format == F32:
        return await rendered_response(request, lines.node(chain, node_id), f"{stem}.f32")
    file = await audio.file(caller.tenant, chain.node(node_id), audio_format, stem)
    return await file_response(request, audio, caller.tenant, file)


@router.head("/v1/chains/{chain_id}/nodes/{node_id}/line/audio", tags=["nodes"], include_in_schema=False)
@router.get(
    "/v1/chains/{chain_id}/nodes/{node_id}/line/audio",
    tags=["nodes"],
    response_class=Response,
    responses={
        200: {"content": {"audio/wav": {}, BARE: {}}},
        206: {"description": "The range asked for"},
        **problem_responses(404, 409, 416),
    },
)
async def listen_to_line(
    chain_id: str,
    node_id: str,
    request: Request,
    caller: CurrentCaller,
    chains: Chains,
    lines: LineFiles,
    sample_format: Annotated[SampleFormat, Query(alias="format")] = SampleFormat.WAV,
) -> Response:
    """The line from the root to this node, whatever its decision, with its seams rendered: the samples that a
    32-bit float export of that line has. It is rendered while it is sent, so a Range costs what it returns."""
    chain = await chains.read(caller.tenant, chain_id)
    rendered = lines.line(chain, node_id, sample_format)
    return await rendered_response(
        request, rendered, f"{node_stem(chain, node_id)}-line.{sample_format.value}"
    )


@router.head("/v1/chains/{chain_id}/nodes/{node_id}/peaks", tags=["nodes"], include_in_schema=False)
@router.get(
    "/v1/chains/{chain_id}/nodes/{node_id}/peaks",
    tags=["nodes"],
    response_class=Response,
    responses={
        200: {"content": {BARE: {}}},
        206: {"description": "The range asked for"},
        **problem_responses(404, 409, 416),
    },
)
async def read_peaks(
    chain_id: str,
    node_id: str,
    request: Request,
    caller: CurrentCaller,
    chains: Chains,
    outlines: Outlines,
) -> Response:
    """The outline of the node's waveform in audiowaveform's format, `.dat` version 2 with 8 bits: the lowest and
    the highest of every 256 samples of each channel. It never changes."""
    chain = await chains.read(caller.tenant, chain_id)
    node = chain.node(node_id)
    if node.audio is None:
        raise Conflict(f"node {node_id} is {node.status}: it has no audio")
    peaks = await outlines.of(caller.tenant, node.audio)

    async def read(start: int, length: int) -> bytes:
        return peaks.data[start : start + length]

    return await blob_response(
        request,
        size=len(peaks.data),
        etag=peaks.sha256,
        media_type=BARE,
        filename=f"{node_stem(chain, node_id)}.dat",
        read=read,
        cache_control=IMMUTABLE,
        disposition="inline",
    )


@router.head("/v1/chains/{chain_id}/nodes/{node_id}/original", tags=["nodes"], include_in_schema=False)
@router.get(
    "/v1/chains/{chain_id}/nodes/{node_id}/original",
    tags=["nodes"],
    response_class=Response,
    responses=file_answers(BARE, problems=(404, 409)),
    dependencies=REDIRECTING,
)
async def download_original(
    chain_id: str,
    node_id: str,
    request: Request,
    caller: CurrentCaller,
    chains: Chains,
    audio: Audio,
) -> Response:
    """The file of an uploaded node, byte for byte as it came."""
    chain = await chains.read(caller.tenant, chain_id)
    file = await audio.original(caller.tenant, chain.node(node_id))
    return await file_response(request, audio, caller.tenant, file, disposition="attachment")


@router.head("/v1/jobs/{job_id}/audio", tags=["jobs"], include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}/audio",
    tags=["jobs"],
    response_class=Response,
    responses=file_answers("audio/wav", "audio/L16", BARE, problems=(404, 409, 503)),
    dependencies=REDIRECTING,
)
async def job_audio(
    job_id: str,
    request: Request,
    caller: CurrentCaller,
    live: Live,
    audio: Audio,
    live_format: Annotated[LiveFormat | None, Query(alias="format")] = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """A take's new audio from its first sample on, while it is being made; then the node's own file.

    Opened early, it waits for the first samples; a take that ends before has a 409. One that breaks off later
    cuts the connection before the end that `Content-Length` told of. `f32` are the WAV's samples alone (float,
    little-endian), `l16` or `Accept: audio/L16` the same in 16 bits (big-endian); `X-Segue-Sample-Rate` and
    `X-Segue-Channels` tell the rest.
    """
    wanted = live_format or accepted(accept)
    node = await live.ready_node(caller.tenant, job_id)
    if node is not None and wanted is LiveFormat.WAV:
        file = await audio.file(caller.tenant, node, "wav", f"take-{node.id[:8]}")
        return await file_response(request, audio, caller.tenant, file)
    if request.method == "HEAD":
        return live_head(wanted, await live.length(caller.tenant, job_id))
    sound = await unless_gone(request, live.open(caller.tenant, job_id))
    return live_response(request, sound, wanted)
