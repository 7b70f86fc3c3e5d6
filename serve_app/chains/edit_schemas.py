"""What editing takes and answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

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


class CropView(BaseModel):
    node: NodeView
