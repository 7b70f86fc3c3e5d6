"""What editing takes and answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field

from serve_app.chains.diffs import BranchDiff, Row
from serve_app.chains.schemas import NodeView
from serve_app.http.fields import MAX_TITLE_CHARS, Integer, Number, Request, Text, Title
from storage.domain.decisions import MAX_STARS

MAX_NOTE_CHARS = 2000


class NodePatch(Request):
    """What is left out stays as it is."""

    title: Annotated[Text | None, Field(max_length=MAX_TITLE_CHARS, examples=["with the brass"])] = None
    stars: Annotated[Integer, Field(ge=0, le=MAX_STARS)] = 0
    note: Annotated[Text | None, Field(max_length=MAX_NOTE_CHARS)] = None


class NewCrop(Request):
    """Seconds of the node's own audio."""

    from_s: Annotated[Number, Field(ge=0, examples=[1.5])] = 0.0
    to_s: Annotated[
        Number | None, Field(gt=0, examples=[7.5], description="left out: up to the node's end")
    ] = None


class UndoRequest(Request):
    at: Annotated[
        AwareDatetime | None,
        Field(description="the decision that is meant, by its time: with another on top nothing is undone"),
    ] = None


class NewDuplicate(Request):
    node_id: Annotated[
        str | None, Field(max_length=64, description="with the path to it and all below it; left out: all")
    ] = None
    title: Annotated[Title | None, Field(description="left out: the same")] = None


class DiffRowView(BaseModel):
    """A bar or window of both lines, in seconds from each one's root; null where a line has ended.

    `chroma` and `onsets` are distances of 0 to 1, `loudness` is one in LU. `changed_from_s` to `changed_to_s`, in
    a's line (or the only one's), is where samples differ.
    """

    a_from_s: float | None
    a_to_s: float | None
    b_from_s: float | None
    b_to_s: float | None
    same: bool
    chroma: float | None
    onsets: float | None
    loudness: float | None
    changed_from_s: float | None
    changed_to_s: float | None


class DiffParameterView(BaseModel):
    name: str
    a: Any
    b: Any


class DiffView(BaseModel):
    """`unit` is `window` (of 2 s) where no grid of bars is sure in both branches."""

    ancestor_id: str | None
    unit: str
    rows: list[DiffRowView]
    parameters: list[DiffParameterView]


def diff_view(diff: BranchDiff) -> DiffView:
    return DiffView(
        ancestor_id=diff.ancestor_id,
        unit=diff.unit.value,
        rows=[_row_view(row) for row in diff.rows],
        parameters=[DiffParameterView(name=name, a=a, b=b) for name, a, b in diff.parameters],
    )


def _row_view(row: Row) -> DiffRowView:
    nothing = (None, None)
    found = row.difference
    return DiffRowView(
        a_from_s=(row.a_s or nothing)[0],
        a_to_s=(row.a_s or nothing)[1],
        b_from_s=(row.b_s or nothing)[0],
        b_to_s=(row.b_s or nothing)[1],
        same=found is not None and found.is_same,
        chroma=None if found is None else found.chroma,
        onsets=None if found is None else found.onsets,
        loudness=None if found is None else found.loudness,
        changed_from_s=(row.changed_s or nothing)[0],
        changed_to_s=(row.changed_s or nothing)[1],
    )


class CropView(BaseModel):
    node: NodeView
