"""Analyses of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from serve_app.http.fields import ErrorView, Flag, ProgressOf, Request, error_view, progress_of_work
from storage.domain.derivations import newest_ready
from storage.domain.model import Derived
from storage.domain.records import format_time


class NewAnalysis(Request):
    melody: Annotated[Flag, Field(description="the pitch of the leading voice too: it costs most")] = True


class AdherenceView(BaseModel):
    """How well a composed take keeps to what was asked for: scores 0..1, None where nothing was asked."""

    score: float | None
    bpm_asked: float | None
    bpm_heard: float | None
    bpm_score: float | None
    key_asked: str | None
    key_heard: str | None
    key_score: float | None


class AnalysisOfNodeView(BaseModel):
    """A node's newest analysis in short; all of it is at `GET …/analysis`."""

    job_id: str
    status: str
    bpm: float | None = None
    bpm_confidence: float | None = None
    meter: int | None = None
    key: str | None = None
    key_confidence: float | None = None
    camelot: str | None = None
    integrated_lufs: float | None = None
    valence: float | None = None
    arousal: float | None = None
    emotion: str | None = None
    style_id: str | None = None
    prompt: str | None = None
    composed_prompt: Annotated[str | None, Field(description="the prompt that the generator was given")] = (
        None
    )
    adherence: AdherenceView | None = None
    rank: Annotated[int | None, Field(description="among the takes of one request, 1 the best")] = None
    error: ErrorView | None = None


class AnalysisRunView(BaseModel):
    job_id: str
    status: str
    progress: float
    created_at: str
    params: dict[str, Any]
    provenance: dict[str, Any] | None
    error: ErrorView | None = None


class AnalysisView(BaseModel):
    """`analysis` is the newest that is ready (see `deployments/engines/analysis/analysis.py` for its fields);
    `runs` are all, the oldest first."""

    chain_id: str
    node_id: str
    status: Annotated[str, Field(description="of the newest run; `none` where nobody has asked for one")]
    analysis: dict[str, Any] | None
    runs: list[AnalysisRunView]


def analysis_view(
    chain_id: str,
    node_id: str,
    made: Sequence[Derived],
    document: Mapping[str, Any] | None,
    progress_of: ProgressOf,
) -> AnalysisView:
    return AnalysisView(
        chain_id=chain_id,
        node_id=node_id,
        status=made[-1].status.value if made else "none",
        analysis=None if document is None else dict(document),
        runs=[
            AnalysisRunView(
                job_id=derived.job_id,
                status=derived.status.value,
                progress=progress_of_work(derived, progress_of),
                created_at=format_time(derived.created_at),
                params=dict(derived.params),
                provenance=None if derived.provenance is None else dict(derived.provenance),
                error=error_view(derived.error),
            )
            for derived in made
        ],
    )


def analysis_of_node_view(made: Sequence[Derived], rank: int | None) -> AnalysisOfNodeView | None:
    """The newest that is ready, else the newest."""
    if not made:
        return None
    shown = newest_ready(made) or made[-1]
    return AnalysisOfNodeView(
        job_id=shown.job_id,
        status=shown.status.value,
        error=error_view(shown.error),
        rank=rank,
        **dict(shown.summary or {}),
    )
