"""Audio of nodes, and of takes while they are being made."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from deployments.export.plan import AudioFormat
from serve_app.access.callers import CurrentCaller
from serve_app.chains.service import ChainService
from serve_app.http.dependencies import service
from serve_app.http.streaming import unless_gone
from serve_app.playback.audio import AudioService, node_stem
from serve_app.playback.files import AUDIO, file_answers, file_response
from serve_app.playback.live_audio import LiveAudio
from serve_app.playback.live_response import LiveFormat, accepted, live_head, live_response

Audio = Annotated[AudioService, service(AudioService)]
Chains = Annotated[ChainService, service(ChainService)]
Live = Annotated[LiveAudio, service(LiveAudio)]

router = APIRouter()


@router.head("/v1/chains/{chain_id}/nodes/{node_id}/audio", tags=["nodes"], include_in_schema=False)
@router.get(
    "/v1/chains/{chain_id}/nodes/{node_id}/audio",
    tags=["nodes"],
    response_class=Response,
    responses=file_answers(*AUDIO, problems=(404, 409)),
)
async def listen(
    chain_id: str,
    node_id: str,
    request: Request,
    caller: CurrentCaller,
    chains: Chains,
    audio: Audio,
    audio_format: Annotated[AudioFormat, Query(alias="format")] = AudioFormat.WAV,
) -> Response:
    """The node's own new audio, without its parent's. What is over full scale in it is only in the WAV, which has
    floats: a FLAC or MP3 gets less gain then, and `X-Segue-Gain-Db` tells how much."""
    chain = await chains.read(caller.tenant, chain_id)
    node = chain.node(node_id)
    file = await audio.file(caller.tenant, node, audio_format, node_stem(chain, node_id))
    return await file_response(request, audio, caller.tenant, file)


@router.head("/v1/chains/{chain_id}/nodes/{node_id}/original", tags=["nodes"], include_in_schema=False)
@router.get(
    "/v1/chains/{chain_id}/nodes/{node_id}/original",
    tags=["nodes"],
    response_class=Response,
    responses=file_answers("application/octet-stream", problems=(404, 409)),
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
    responses=file_answers("audio/wav", "audio/L16", "application/octet-stream", problems=(404, 409, 503)),
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
        file = await audio.file(caller.tenant, node, AudioFormat.WAV, f"take-{node.id[:8]}")
        return await file_response(request, audio, caller.tenant, file)
    if request.method == "HEAD":
        return live_head(wanted, await live.length(caller.tenant, job_id))
    sound = await unless_gone(request, live.open(caller.tenant, job_id))
    return live_response(request, sound, wanted)
