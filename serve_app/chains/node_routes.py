"""Nodes: branch, read, listen, commit, discard, provenance."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from deployments.export.plan import AudioFormat
from serve_app.access.callers import CurrentCaller
from serve_app.chains.branching import branch_request
from serve_app.chains.notices import channel_notices
from serve_app.chains.schemas import BranchView, ChainView, NewNodes, NodeView, chain_view, node_view
from serve_app.http.dependencies import ELSEWHERE, IdempotencyKey, Provided, file_response
from serve_app.http.problems import Conflict, problem_responses
from serve_app.playback.audio import node_stem
from storage.domain.ranking import ranks

router = APIRouter(prefix="/v1/chains/{chain_id}/nodes", tags=["nodes"])


@router.post("", status_code=202, response_model=BranchView, responses=problem_responses(404, 409, 422, 429))
async def branch(
    chain_id: str,
    wanted: NewNodes,
    caller: CurrentCaller,
    services: Provided,
    key: IdempotencyKey = None,
) -> BranchView:
    """Asks for takes that go on from `parent_id`; each is a node and a job of its own."""
    limits = services.settings.generation
    branched = await services.takes.branch(
        caller.tenant,
        chain_id,
        wanted.parent_id,
        branch_request(
            limits,
            wanted,
            mode=wanted.mode,
            can_compose=services.analysis.entry is not None,
            takes=wanted.takes,
        ),
        key,
    )
    job_ids = [job.id for job in branched.jobs]
    return BranchView(
        nodes=[node_view(chain_id, node, services.listener.progress_of) for node in branched.nodes],
        job_ids=job_ids,
        job_id=job_ids[0],
        notices=channel_notices(branched.chain, branched.jobs, services.models),
    )


@router.get("/{node_id}", response_model=NodeView, responses=problem_responses(404))
async def read_node(chain_id: str, node_id: str, caller: CurrentCaller, services: Provided) -> NodeView:
    chain = await services.chains.read(caller.tenant, chain_id)
    rank = ranks(chain).get(node_id)
    return node_view(chain_id, chain.node(node_id), services.listener.progress_of, rank=rank)


@router.post("/{node_id}/commit", response_model=ChainView, responses=problem_responses(404, 409))
async def commit(chain_id: str, node_id: str, caller: CurrentCaller, services: Provided) -> ChainView:
    """Puts a ready node on the spine, in place of a committed sibling if there is one."""
    chain = await services.chains.commit(caller.tenant, chain_id, node_id)
    return chain_view(chain, services.listener.progress_of)


@router.post("/{node_id}/discard", response_model=ChainView, responses=problem_responses(404, 409))
async def discard(chain_id: str, node_id: str, caller: CurrentCaller, services: Provided) -> ChainView:
    """Discards a node and all below it, and cancels their unfinished jobs."""
    chain = await services.chains.discard(caller.tenant, chain_id, node_id)
    return chain_view(chain, services.listener.progress_of)


@router.head("/{node_id}/audio", include_in_schema=False)
@router.get(
    "/{node_id}/audio",
    response_class=Response,
    responses={
        200: {"content": {"audio/wav": {}, "audio/flac": {}, "audio/mpeg": {}}},
        206: {"description": "The range asked for"},
        **ELSEWHERE,
        **problem_responses(404, 409, 416),
    },
)
async def listen(
    chain_id: str,
    node_id: str,
    request: Request,
    caller: CurrentCaller,
    services: Provided,
    audio_format: Annotated[AudioFormat, Query(alias="format")] = AudioFormat.WAV,
) -> Response:
    """The node's own new audio, without its parent's. What is over full scale in it is only in the WAV, which has
    floats: a FLAC or MP3 gets less gain then, and `X-Segue-Gain-Db` tells how much."""
    chain = await services.chains.read(caller.tenant, chain_id)
    node = chain.node(node_id)
    file = await services.audio.file(caller.tenant, node, audio_format, node_stem(chain, node_id))
    return await file_response(request, services.audio, caller.tenant, file)


@router.head("/{node_id}/original", include_in_schema=False)
@router.get(
    "/{node_id}/original",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"description": "The range asked for"},
        **ELSEWHERE,
        **problem_responses(404, 409, 416),
    },
)
async def download_original(
    chain_id: str, node_id: str, request: Request, caller: CurrentCaller, services: Provided
) -> Response:
    """The file of an uploaded node, byte for byte as it came."""
    chain = await services.chains.read(caller.tenant, chain_id)
    file = await services.audio.original(caller.tenant, chain.node(node_id))
    return await file_response(request, services.audio, caller.tenant, file, disposition="attachment")


@router.get("/{node_id}/provenance", responses=problem_responses(404, 409))
async def read_provenance(
    chain_id: str, node_id: str, caller: CurrentCaller, services: Provided
) -> dict[str, Any]:
    """All that a re-render of a generated node needs, and the licence of the weights that made it."""
    node = (await services.chains.read(caller.tenant, chain_id)).node(node_id)
    if node.audio is None:
        raise Conflict(f"node {node_id} is {node.status}: it has no audio")
    return {
        "node_id": node.id,
        "origin": node.origin.value,
        "audio_sha256": node.audio.blob.sha256,
        "original_sha256": node.audio.original.sha256 if node.audio.original is not None else None,
        **(node.provenance or {}),
    }
