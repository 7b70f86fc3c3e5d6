"""Nodes: branch, read, listen, commit, discard, provenance."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter

from serve_app.access.callers import CallerWhoGenerates, CurrentCaller
from serve_app.analysis.service import AnalysisService
from serve_app.chains.branching import branch_request
from serve_app.chains.notices import channel_notices
from serve_app.chains.schemas import BranchView, ChainView, NewNodes, NodeView, chain_view, node_view
from serve_app.chains.service import ChainService
from serve_app.chains.takes import TakeService
from serve_app.http.dependencies import Configured, IdempotencyKey, Progress, service
from serve_app.http.problems import Conflict, problem_responses
from serve_app.system.models import ServedGenerators
from storage.domain.ranking import ranks

Analyses = Annotated[AnalysisService, service(AnalysisService)]
Chains = Annotated[ChainService, service(ChainService)]
Models = Annotated[ServedGenerators, service(ServedGenerators)]
Takes = Annotated[TakeService, service(TakeService)]

router = APIRouter(prefix="/v1/chains/{chain_id}/nodes", tags=["nodes"])


@router.post("", status_code=202, response_model=BranchView, responses=problem_responses(404, 409, 422, 429))
async def branch(
    chain_id: str,
    wanted: NewNodes,
    caller: CallerWhoGenerates,
    settings: Configured,
    takes: Takes,
    analysis: Analyses,
    models: Models,
    progress: Progress,
    key: IdempotencyKey = None,
) -> BranchView:
    """Asks for takes that continue from `parent_id`; each is a node and a job of its own. With `at_s` they
    continue from that second of it: from a crop, which is made with them, or was made before."""
    limits = settings.generation
    branched = await takes.branch(
        caller.tenant,
        chain_id,
        wanted.parent_id,
        branch_request(
            limits,
            wanted,
            mode=wanted.mode,
            can_compose=analysis.entry is not None,
            takes=wanted.takes,
        ),
        key,
        wanted.at_s,
    )
    job_ids = [job.id for job in branched.jobs]
    return BranchView(
        nodes=[node_view(chain_id, node, progress) for node in branched.nodes],
        job_ids=job_ids,
        job_id=job_ids[0],
        notices=channel_notices(branched.chain, branched.jobs, models),
        crop=node_view(chain_id, branched.crop, progress) if branched.crop is not None else None,
    )


@router.get("/{node_id}", response_model=NodeView, responses=problem_responses(404))
async def read_node(
    chain_id: str,
    node_id: str,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
) -> NodeView:
    chain = await chains.read(caller.tenant, chain_id)
    rank = ranks(chain).get(node_id)
    return node_view(chain_id, chain.node(node_id), progress, rank=rank)


@router.post("/{node_id}/commit", response_model=ChainView, responses=problem_responses(404, 409))
async def commit(
    chain_id: str,
    node_id: str,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
) -> ChainView:
    """Puts a ready node on the spine, in place of a committed sibling if there is one."""
    chain = await chains.commit(caller.tenant, chain_id, node_id)
    return chain_view(chain, progress)


@router.post("/{node_id}/discard", response_model=ChainView, responses=problem_responses(404, 409))
async def discard(
    chain_id: str,
    node_id: str,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
) -> ChainView:
    """Discards a node and all below it, and cancels their unfinished jobs."""
    chain = await chains.discard(caller.tenant, chain_id, node_id)
    return chain_view(chain, progress)


@router.post("/{node_id}/cancel_others", response_model=ChainView, responses=problem_responses(404))
async def cancel_others(
    chain_id: str,
    node_id: str,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
) -> ChainView:
    """Cancels the other takes of the request that made this one, as far as they are unfinished."""
    chain = await chains.cancel_others(caller.tenant, chain_id, node_id)
    return chain_view(chain, progress)


@router.get("/{node_id}/provenance", responses=problem_responses(404, 409))
async def read_provenance(
    chain_id: str, node_id: str, caller: CurrentCaller, chains: Chains
) -> dict[str, Any]:
    """All that a re-render of a generated node needs, and the licence of the weights that made it."""
    node = (await chains.read(caller.tenant, chain_id)).node(node_id)
    if node.audio is None:
        raise Conflict(f"node {node_id} is {node.status}: it has no audio")
    return {
        "node_id": node.id,
        "origin": node.origin.value,
        "audio_sha256": node.audio.sha256,
        "original_sha256": node.audio.original.sha256 if node.audio.original is not None else None,
        **(node.provenance or {}),
    }
