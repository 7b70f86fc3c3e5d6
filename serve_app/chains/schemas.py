"""Chains and their nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from deployments.audio.seam.joining import USUAL, Align
from deployments.engines.music.protocol import GenerationMode
from deployments.export.gain import downloaded_gain_db
from serve_app.analysis.schemas import AnalysisOfNodeView, analysis_of_node_view
from serve_app.http.fields import (
    DamagedView,
    ErrorView,
    Flag,
    Integer,
    Number,
    ProgressOf,
    Request,
    Text,
    Title,
    error_view,
    outlook_of_work,
    progress_of_work,
)
from storage.domain.history import next_redo, next_undo
from storage.domain.model import Chain, DerivedKind, Node, NodeAudio, Step
from storage.domain.ranking import ranks
from storage.domain.records import format_time
from storage.domain.seeds import SEED_COUNT
from storage.domain.tree import spine


class Generation(Request):
    """How to generate. The bounds here are those of the format; the server's own (`GET /v1/config`) may be
    narrower."""

    prompt: Annotated[Text, Field(max_length=4000, examples=["warm analogue synths, 96 bpm"])] = ""
    duration_s: Annotated[Number, Field(gt=0, examples=[6.0])] = 10.0
    prompt_duration_s: Annotated[Number, Field(gt=0, examples=[10.0])] = 10.0
    cfg_coef: Annotated[Number, Field(ge=0, le=20)] = 3.0
    temperature: Annotated[Number, Field(gt=0, le=5)] = 1.0
    top_k: Annotated[Integer, Field(ge=0, le=4096)] = 250
    top_p: Annotated[Number, Field(ge=0, le=1)] = 0.0
    seed: Annotated[Integer | None, Field(ge=0, lt=SEED_COUNT)] = None
    model: Annotated[str | None, Field(max_length=200, examples=["tiny"])] = None
    bpm: Annotated[
        Number | None, Field(ge=30, le=300, description="asked for, and compared with what comes out")
    ] = None
    key: Annotated[Text | None, Field(max_length=20, description="as bpm", examples=["F# minor"])] = None
    mood: Annotated[Text | None, Field(max_length=100, examples=["calm"])] = None
    style: Annotated[Text | None, Field(max_length=100, examples=["funk"])] = None


class NewChain(Generation):
    """A chain whose root is generated from its prompt."""

    title: Title = ""


class NewNodes(Generation):
    """Takes of a continuation."""

    parent_id: Annotated[str, Field(max_length=64)]
    mode: GenerationMode = GenerationMode.CONTINUE
    takes: Annotated[Integer, Field(ge=1, le=64)] = 1
    align: Annotated[
        Align,
        Field(description="what of the take is laid on the parent: nothing, its phase, or its beats as well"),
    ] = USUAL.align
    crossfade_s: Annotated[Number, Field(ge=0, description="over the parent's end; 0: none")] = (
        USUAL.crossfade_s
    )
    match_loudness: Annotated[Flag, Field(description="as loud as the parent, and then as the line")] = (
        USUAL.match_loudness
    )
    at_s: Annotated[
        Number | None,
        Field(gt=0, examples=[3.5], description="continue from this second of the parent, from a crop of it"),
    ] = None


class ChainPatch(Request):
    title: Title


class AudioView(BaseModel):
    duration_s: float
    samples: int
    sample_rate_hz: int
    channels: int
    rms_dbfs: float
    peak_dbfs: float
    encoded_gain_db: Annotated[
        float, Field(description="of a FLAC or MP3 made of it; under 0 where it is over full scale")
    ]
    sha256: str
    url: str
    original_format: str | None = None
    original_name: str | None = None


class StemsOfNodeView(BaseModel):
    """A separation of the node; its tracks are at `GET …/stems`."""

    job_id: str
    status: str
    progress: float
    model: str
    stems: list[str]
    error: ErrorView | None = None


class CroppedFromView(BaseModel):
    """The node that a crop is a part of, and which part: seconds of that node's audio."""

    node_id: str
    from_s: float
    to_s: float


class NodeView(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "9f2c6a7be01d4c5f8a3b1e77",
                "parent_id": "5b1d0f3c9a8e7d6c5b4a3f2e",
                "origin": "generation",
                "status": "running",
                "decision": "candidate",
                "duration_s": 6.0,
                "prompt": "warm analogue synths, 96 bpm",
                "params": {"mode": "continue", "prompt_duration_s": 10.0, "cfg_coef": 3.0, "model": "tiny"},
                "seed": 1234,
                "take": 0,
                "job_id": "0c1d2e3f4a5b6c7d8e9f0a1b",
                "progress": 0.42,
                "created_at": "2026-01-01T12:00:00.000000Z",
                "audio": None,
            }
        }
    )

    id: str
    parent_id: str | None
    origin: str
    status: str
    decision: str
    duration_s: float
    prompt: str
    params: dict[str, Any]
    seed: int | None
    take: int
    job_id: str | None
    progress: float
    queue_position: Annotated[
        int | None,
        Field(description="of its job, 1: the next one; null once it runs, or where it is not known"),
    ] = None
    eta_s: Annotated[
        float | None,
        Field(description="until it is ready, at the measured speed of the model; null: not known"),
    ] = None
    created_at: str
    audio: AudioView | None = None
    error: ErrorView | None = None
    stems: list[StemsOfNodeView] = []
    analysis: AnalysisOfNodeView | None = None
    title: str | None = None
    stars: int = 0
    note: str | None = None
    cropped_from: CroppedFromView | None = None


class StepView(BaseModel):
    """A decision: what it was, about which node (null: the chain), and when it was made."""

    action: str
    node_id: str | None
    at: str


class ChainView(BaseModel):
    id: str
    title: str
    version: int
    created_at: str
    updated_at: str
    root_id: str
    sample_rate_hz: int | None
    channels: int | None
    nodes: list[NodeView]
    spine: list[str]
    job_id: str | None = None
    undo: Annotated[StepView | None, Field(description="what the next undo takes back")] = None
    redo: Annotated[StepView | None, Field(description="what the next redo does again")] = None
    notices: Annotated[list[str], Field(description="what to know of the change, in words for people")] = []


class ChainListView(BaseModel):
    """`damaged` are the page's chains that are there and cannot be read; each can be deleted."""

    chains: list[ChainView]
    cursor: str | None
    damaged: list[DamagedView] = []


class SpineNodeView(NodeView):
    offset_s: float


class SpineView(BaseModel):
    chain_id: str
    version: int
    duration_s: float
    nodes: list[SpineNodeView]


class BranchView(BaseModel):
    nodes: list[NodeView]
    job_ids: list[str]
    job_id: str
    notices: Annotated[list[str], Field(description="what to know of these takes, in words for people")] = []
    crop: Annotated[NodeView | None, Field(description="with `at_s`: the parent of the takes")] = None


def node_view(chain_id: str, node: Node, progress_of: ProgressOf, *, rank: int | None = None) -> NodeView:
    """`rank` is the node's among the takes of its request (`storage.domain.ranking`)."""
    outlook = outlook_of_work(node, progress_of)
    return NodeView(
        id=node.id,
        parent_id=node.parent_id,
        origin=node.origin.value,
        status=node.status.value,
        decision=node.decision.value,
        duration_s=node.duration_s,
        prompt=node.prompt,
        params=dict(node.params),
        seed=node.seed,
        take=node.take,
        job_id=node.job_id,
        progress=progress_of_work(node, progress_of),
        queue_position=outlook.queue_position,
        eta_s=outlook.eta_s,
        created_at=format_time(node.created_at),
        audio=_audio_view(chain_id, node.id, node.audio) if node.audio is not None else None,
        error=error_view(node.error),
        stems=[
            StemsOfNodeView(
                job_id=derived.job_id,
                status=derived.status.value,
                progress=progress_of_work(derived, progress_of),
                model=str(derived.params.get("model", "")),
                stems=[track.name for track in derived.tracks],
                error=error_view(derived.error),
            )
            for derived in node.derived
            if derived.kind is DerivedKind.STEMS
        ],
        analysis=analysis_of_node_view(
            [derived for derived in node.derived if derived.kind is DerivedKind.ANALYSIS], rank
        ),
        title=node.title,
        stars=node.stars,
        note=node.note,
        cropped_from=_cropped_from_view(node),
    )


def step_view(step: Step | None) -> StepView | None:
    if step is None:
        return None
    return StepView(action=step.action.value, node_id=step.node_id, at=format_time(step.at))


def chain_view(
    chain: Chain, progress_of: ProgressOf, *, job_id: str | None = None, notices: Sequence[str] = ()
) -> ChainView:
    ranked = ranks(chain)
    return ChainView(
        id=chain.id,
        title=chain.title,
        version=chain.version,
        created_at=format_time(chain.created_at),
        updated_at=format_time(chain.updated_at),
        root_id=chain.root_id,
        sample_rate_hz=chain.sample_rate_hz,
        channels=chain.channels,
        nodes=[node_view(chain.id, node, progress_of, rank=ranked.get(node.id)) for node in chain.nodes],
        spine=[node.id for node in spine(chain)],
        job_id=job_id,
        undo=step_view(next_undo(chain)),
        redo=step_view(next_redo(chain)),
        notices=list(notices),
    )


def spine_view(chain: Chain, progress_of: ProgressOf) -> SpineView:
    """The committed nodes in order. `offset_s` is the running sum of the samples before, so it never drifts."""
    offset_s, nodes = 0.0, []
    samples, ranked = 0, ranks(chain)
    for node in spine(chain):
        shown = node_view(chain.id, node, progress_of, rank=ranked.get(node.id))
        nodes.append(SpineNodeView(**shown.model_dump(), offset_s=offset_s))
        if node.audio is not None:
            samples += node.audio.samples
            offset_s = samples / node.audio.sample_rate_hz
    return SpineView(chain_id=chain.id, version=chain.version, duration_s=offset_s, nodes=nodes)


def _cropped_from_view(node: Node) -> CroppedFromView | None:
    if node.cropped_from is None or node.audio is None:
        return None
    cropped, rate_hz = node.cropped_from, node.audio.sample_rate_hz
    return CroppedFromView(
        node_id=cropped.node_id,
        from_s=cropped.first_sample / rate_hz,
        to_s=(cropped.first_sample + cropped.samples) / rate_hz,
    )


def _audio_view(chain_id: str, node_id: str, audio: NodeAudio) -> AudioView:
    return AudioView(
        duration_s=audio.duration_s,
        samples=audio.samples,
        sample_rate_hz=audio.sample_rate_hz,
        channels=audio.channels,
        rms_dbfs=audio.rms_dbfs,
        peak_dbfs=audio.peak_dbfs,
        encoded_gain_db=downloaded_gain_db(audio.peak_dbfs),
        sha256=audio.sha256,
        url=f"/v1/chains/{chain_id}/nodes/{node_id}/audio",
        original_format=audio.original_format,
        original_name=audio.original_name,
    )
