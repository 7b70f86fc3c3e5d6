"""Stems of a node: ask for them, see what there is, listen."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from serve_app.access.callers import CallerWithStems, CurrentCaller
from serve_app.chains.service import ChainService
from serve_app.http.dependencies import IdempotencyKey, Progress, service
from serve_app.http.fields import AcceptedView, AudioFormatName, accepted_view
from serve_app.http.problems import problem_responses
from serve_app.playback.audio import AudioService, node_stem
from serve_app.playback.files import AUDIO, REDIRECTING, file_answers, file_response
from serve_app.stems.schemas import NewStems, StemsView, stems_view
from serve_app.stems.service import StemsRequest, StemsService

Audio = Annotated[AudioService, service(AudioService)]
Chains = Annotated[ChainService, service(ChainService)]
Stems = Annotated[StemsService, service(StemsService)]

router = APIRouter(prefix="/v1/chains/{chain_id}/nodes/{node_id}/stems", tags=["stems"])


@router.post(
    "",
    status_code=202,
    response_model=AcceptedView,
    responses=problem_responses(401, 403, 404, 409, 422, 429),
)
async def separate(
    chain_id: str,
    node_id: str,
    caller: CallerWithStems,
    stems: Stems,
    wanted: NewStems | None = None,
    key: IdempotencyKey = None,
) -> AcceptedView:
    """Separates a ready node's audio into stems and what they leave of it, `residual`. Asked again with the same
    options, the same job answers."""
    asked = wanted or NewStems()
    job = await stems.start(caller.tenant, chain_id, node_id, StemsRequest(asked.model, asked.options()), key)
    return accepted_view(job)


@router.get("", response_model=StemsView, responses=problem_responses(401, 404))
async def list_stems(
    chain_id: str,
    node_id: str,
    caller: CurrentCaller,
    stems: Stems,
    progress: Progress,
) -> StemsView:
    """The newest stems that are ready, and every separation of this node with how it does."""
    _, made = await stems.read(caller.tenant, chain_id, node_id)
    return stems_view(chain_id, node_id, made, progress)


@router.head("/{stem}", include_in_schema=False)
@router.get(
    "/{stem}",
    response_class=Response,
    responses=file_answers(*AUDIO, problems=(401, 404, 409)),
    dependencies=REDIRECTING,
)
async def listen(
    chain_id: str,
    node_id: str,
    stem: str,
    request: Request,
    caller: CurrentCaller,
    stems: Stems,
    chains: Chains,
    audio: Audio,
    audio_format: Annotated[AudioFormatName, Query(alias="format")] = "wav",
    job: Annotated[str | None, Query(description="of this separation, not the newest")] = None,
) -> Response:
    """One stem: 32-bit float WAV in the chain's rate and channels, exactly as long as the node, or FLAC or MP3
    made of it. A stem may be over full scale where the node is not: its FLAC and MP3 get less gain then, and
    `X-Segue-Gain-Db` holds it. Only the WAVs add up without more ado."""
    track = await stems.stem(caller.tenant, chain_id, node_id, stem, job)
    chain = await chains.read(caller.tenant, chain_id)
    name = f"{node_stem(chain, node_id)}-{track.name}"
    file = await audio.track(caller.tenant, track, name, audio_format)
    return await file_response(request, audio, caller.tenant, file)
