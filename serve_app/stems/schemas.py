"""Stems of a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from deployments.engines.separation.options import MAX_SHIFTS, MIN_SEGMENT_S, SeparationOptions
from serve_app.http.fields import (
    ErrorView,
    Integer,
    Number,
    ProgressOf,
    Request,
    TrackView,
    error_view,
    progress_of_work,
    track_view,
)
from storage.domain.derivations import newest_ready
from storage.domain.model import Derived
from storage.domain.records import format_time
from storage.domain.seeds import SEED_COUNT


class NewStems(Request):
    """How to separate. Without `stems` and `two_stems`, all sources of the model."""

    model: Annotated[str | None, Field(max_length=200, examples=["htdemucs"])] = None
    stems: Annotated[
        list[Annotated[str, Field(max_length=40)]] | None,
        Field(min_length=1, max_length=16, description="only these sources", examples=[["vocals", "drums"]]),
    ] = None
    two_stems: Annotated[
        str | None, Field(max_length=40, description="this source, and all else as no_<source>")
    ] = None
    shifts: Annotated[
        Integer,
        Field(ge=0, le=MAX_SHIFTS, description="the mean of so many shifted passes; each costs one pass"),
    ] = 0
    overlap: Annotated[Number, Field(ge=0, le=0.95, description="of neighbouring segments")] = 0.25
    segment_s: Annotated[
        Number | None, Field(ge=MIN_SEGMENT_S, le=600, description="at most the model's own")
    ] = None
    seed: Annotated[Integer, Field(ge=0, lt=SEED_COUNT, description="where the shifts come from")] = 0

    def options(self) -> SeparationOptions:
        return SeparationOptions(
            stems=None if self.stems is None else tuple(self.stems),
            two_stems=self.two_stems,
            shifts=self.shifts,
            overlap=self.overlap,
            segment_s=self.segment_s,
            seed=self.seed,
        )


class DerivedView(BaseModel):
    """Something derived from a node, and how it does."""

    job_id: str
    kind: str
    status: str
    progress: float
    params: dict[str, Any]
    created_at: str
    tracks: list[TrackView]
    provenance: dict[str, Any] | None
    error: ErrorView | None = None


class StemsView(BaseModel):
    """`stems` are those of the newest separation that is ready, whose `job_id` it is."""

    chain_id: str
    node_id: str
    job_id: str | None
    status: Annotated[
        str, Field(description="of the newest separation; `none` where nobody has asked for one")
    ]
    stems: list[TrackView]
    separations: list[DerivedView]


def derived_view(chain_id: str, node_id: str, derived: Derived, progress_of: ProgressOf) -> DerivedView:
    url = f"/v1/chains/{chain_id}/nodes/{node_id}/{derived.kind.value}"
    return DerivedView(
        job_id=derived.job_id,
        kind=derived.kind.value,
        status=derived.status.value,
        progress=progress_of_work(derived, progress_of),
        params=dict(derived.params),
        created_at=format_time(derived.created_at),
        tracks=[track_view(track, f"{url}/{track.name}?job={derived.job_id}") for track in derived.tracks],
        provenance=None if derived.provenance is None else dict(derived.provenance),
        error=error_view(derived.error),
    )


def stems_view(chain_id: str, node_id: str, made: Sequence[Derived], progress_of: ProgressOf) -> StemsView:
    ready = newest_ready(made)
    shown = [derived_view(chain_id, node_id, derived, progress_of) for derived in made]
    url = f"/v1/chains/{chain_id}/nodes/{node_id}/stems"
    return StemsView(
        chain_id=chain_id,
        node_id=node_id,
        job_id=ready.job_id if ready is not None else None,
        status=made[-1].status.value if made else "none",
        stems=[track_view(track, f"{url}/{track.name}") for track in ready.tracks] if ready else [],
        separations=shown,
    )
