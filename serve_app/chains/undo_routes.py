"""A musician's second thoughts: off the spine again, and back from the discarded."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from serve_app.access.callers import CurrentCaller
from serve_app.chains.schemas import ChainView, chain_view
from serve_app.chains.service import ChainService
from serve_app.http.dependencies import Progress, service
from serve_app.http.problems import problem_responses

Chains = Annotated[ChainService, service(ChainService)]

router = APIRouter(prefix="/v1/chains/{chain_id}/nodes", tags=["nodes"])


@router.post("/{node_id}/uncommit", response_model=ChainView, responses=problem_responses(404, 409))
async def uncommit(
    chain_id: str, node_id: str, caller: CurrentCaller, chains: Chains, progress: Progress
) -> ChainView:
    """Takes a node off the spine: it and its committed descendants become candidates. The root stays (409)."""
    chain = await chains.uncommit(caller.tenant, chain_id, node_id)
    return chain_view(chain, progress)


@router.post("/{node_id}/restore", response_model=ChainView, responses=problem_responses(404))
async def restore(
    chain_id: str, node_id: str, caller: CurrentCaller, chains: Chains, progress: Progress
) -> ChainView:
    """Makes a discarded node a candidate again, with its discarded ancestors and what the same discard took along
    below it. What was cancelled stays cancelled."""
    chain = await chains.restore(caller.tenant, chain_id, node_id)
    return chain_view(chain, progress)
