"""Analysis of a node: ask for it, read it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from serve_app.access.callers import CurrentCaller
from serve_app.analysis.schemas import (
    AnalysisView,
    NewAnalysis,
    analysis_view,
)
from serve_app.analysis.service import AnalysisService
from serve_app.http.dependencies import IdempotencyKey, Progress, service
from serve_app.http.fields import AcceptedView, accepted_view
from serve_app.http.problems import problem_responses

Analyses = Annotated[AnalysisService, service(AnalysisService)]

router = APIRouter(prefix="/v1/chains/{chain_id}/nodes/{node_id}/analysis", tags=["analysis"])


@router.post(
    "",
    status_code=202,
    response_model=AcceptedView,
    responses=problem_responses(401, 404, 409, 422, 429),
)
async def analyse(
    chain_id: str,
    node_id: str,
    caller: CurrentCaller,
    analysis: Analyses,
    wanted: NewAnalysis | None = None,
    key: IdempotencyKey = None,
) -> AcceptedView:
    """Analyses a ready node's audio: tempo and beats, key, energy, loudness, emotion, style, melody, sections.
    Asked again, the same job answers."""
    melody = (wanted or NewAnalysis()).melody
    job = await analysis.start(caller.tenant, chain_id, node_id, melody, key)
    return accepted_view(job)


@router.get("", response_model=AnalysisView, responses=problem_responses(401, 404))
async def read_analysis(
    chain_id: str,
    node_id: str,
    caller: CurrentCaller,
    analysis: Analyses,
    progress: Progress,
) -> AnalysisView:
    """The newest analysis that is ready, and every run with how it does."""
    made, document = await analysis.read(caller.tenant, chain_id, node_id)
    return analysis_view(chain_id, node_id, made, document, progress)
