"""Editing: marks on a node, crops, and a musician's second thoughts: off the spine, back from the discarded."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from serve_app.access.callers import CurrentCaller
from serve_app.chains.crops import CropService
from serve_app.chains.diffs import DiffService
from serve_app.chains.duplicates import DuplicateService
from serve_app.chains.edit_schemas import (
    CropView,
    DiffView,
    NewCrop,
    NewDuplicate,
    NodePatch,
    UndoRequest,
    diff_view,
)
from serve_app.chains.notices import cancelled_notices
from serve_app.chains.schemas import ChainView, NodeView, chain_view, node_view
from serve_app.chains.service import ChainService
from serve_app.http.dependencies import IdempotencyKey, Progress, service
from serve_app.http.problems import problem_responses
from storage.domain.decisions import Marks
from storage.domain.ranking import ranks

Chains = Annotated[ChainService, service(ChainService)]
Crops = Annotated[CropService, service(CropService)]
Diffs = Annotated[DiffService, service(DiffService)]
Duplicates = Annotated[DuplicateService, service(DuplicateService)]

router = APIRouter(prefix="/v1/chains/{chain_id}", tags=["nodes"])


@router.post("/undo", response_model=ChainView, tags=["chains"], responses=problem_responses(404, 409, 422))
async def undo(
    chain_id: str,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
    wanted: UndoRequest | None = None,
    key: IdempotencyKey = None,
) -> ChainView:
    """Takes the last decision back (commit, uncommit, discard, restore, crop, title, stars, note), whoever made it:
    the chain's `undo` says which. Where that does not apply any more nothing is changed (409). Work that a discard
    cancelled does not run on: `notices` says so."""
    at = wanted.at if wanted is not None else None
    chain, cancelled = await chains.undo(caller.tenant, chain_id, back=True, key=key, at=at)
    return chain_view(chain, progress, notices=cancelled_notices(cancelled))


@router.post("/redo", response_model=ChainView, tags=["chains"], responses=problem_responses(404, 409, 422))
async def redo(
    chain_id: str,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
    wanted: UndoRequest | None = None,
    key: IdempotencyKey = None,
) -> ChainView:
    """Does again what was undone last, as long as nothing else was decided since."""
    at = wanted.at if wanted is not None else None
    chain, cancelled = await chains.undo(caller.tenant, chain_id, back=False, key=key, at=at)
    return chain_view(chain, progress, notices=cancelled_notices(cancelled))


@router.post(
    "/duplicate",
    status_code=201,
    response_model=ChainView,
    tags=["chains"],
    responses=problem_responses(404, 409, 422),
)
async def duplicate(
    chain_id: str,
    caller: CurrentCaller,
    duplicates: Duplicates,
    progress: Progress,
    wanted: NewDuplicate | None = None,
    key: IdempotencyKey = None,
) -> ChainView:
    """A chain of its own with all that is ready in this one, or on the path to a node and below it. No audio is
    copied; either chain may be deleted without harm to the other."""
    asked = wanted or NewDuplicate()
    made = await duplicates.duplicate(caller.tenant, chain_id, asked.node_id, asked.title, key)
    return chain_view(made, progress)


@router.get("/diff", response_model=DiffView, tags=["chains"], responses=problem_responses(404, 409, 422))
async def diff(
    chain_id: str,
    caller: CurrentCaller,
    diffs: Diffs,
    a: Annotated[str, Query(max_length=64, description="a node")],
    b: Annotated[str, Query(max_length=64, description="another one")],
) -> DiffView:
    """How the lines up to two nodes differ after the last node that they share: bar by bar where an analyser is
    served and is sure of the bars of both, else by windows of 2 s; and the parameters in which the nodes differ."""
    return diff_view(await diffs.diff(caller.tenant, chain_id, a, b))


@router.patch("/nodes/{node_id}", response_model=NodeView, responses=problem_responses(404, 422))
async def mark_node(
    chain_id: str,
    node_id: str,
    patch: NodePatch,
    caller: CurrentCaller,
    chains: Chains,
    progress: Progress,
) -> NodeView:
    """Gives a node a title, stars or a note, whatever state it is in. What is left out stays as it is; null or an
    empty text takes a title or note away."""
    chain = await chains.mark(caller.tenant, chain_id, node_id, _marks(patch))
    return node_view(chain_id, chain.node(node_id), progress, rank=ranks(chain).get(node_id))


@router.post(
    "/nodes/{node_id}/crop",
    status_code=201,
    response_model=CropView,
    responses=problem_responses(404, 409, 422),
)
async def crop(
    chain_id: str,
    node_id: str,
    wanted: NewCrop,
    caller: CurrentCaller,
    crops: Crops,
    progress: Progress,
    key: IdempotencyKey = None,
) -> CropView:
    """A new candidate beside a ready node: a part of its audio, of which nothing is copied. The node stays as it
    is, and what continues from it stays below it. A crop of a root has no parent either: committed, it is what the
    spine begins with."""
    _, node = await crops.crop(caller.tenant, chain_id, node_id, wanted.from_s, wanted.to_s, key)
    return CropView(node=node_view(chain_id, node, progress))


@router.post("/nodes/{node_id}/uncommit", response_model=ChainView, responses=problem_responses(404, 409))
async def uncommit(
    chain_id: str, node_id: str, caller: CurrentCaller, chains: Chains, progress: Progress
) -> ChainView:
    """Takes a node off the spine: it and its committed descendants become candidates. The root stays (409)."""
    chain = await chains.uncommit(caller.tenant, chain_id, node_id)
    return chain_view(chain, progress)


@router.post("/nodes/{node_id}/restore", response_model=ChainView, responses=problem_responses(404))
async def restore(
    chain_id: str, node_id: str, caller: CurrentCaller, chains: Chains, progress: Progress
) -> ChainView:
    """Makes a discarded node a candidate again, with its discarded ancestors and what the same discard took along
    below it. What was cancelled stays cancelled."""
    chain = await chains.restore(caller.tenant, chain_id, node_id)
    return chain_view(chain, progress)


def _marks(patch: NodePatch) -> Marks:
    given = patch.model_fields_set
    return Marks(
        title=(patch.title or "") if "title" in given else None,
        stars=patch.stars if "stars" in given else None,
        note=(patch.note or "") if "note" in given else None,
    )
