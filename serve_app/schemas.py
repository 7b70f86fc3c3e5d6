"""What goes over the wire: requests as they are validated, answers as they are shown.

Answers are built here from the domain and nowhere else. No path of the server is ever in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from deployments.engines.protocols import GenerationMode
from deployments.engines.registry import ModelEntry
from deployments.export.plan import AudioFormat
from serve_app.services.models import Capacity, ModelState
from storage.chain.jobs import Job
from storage.chain.model import Chain, Failure, Node, NodeAudio, NodeStatus
from storage.chain.records import format_time
from storage.chain.seeds import SEED_COUNT
from storage.chain.tree import spine

MAX_TITLE_CHARS = 200

ProgressOf = Callable[[str], float | None]
"""The last progress heard of a job, by its id."""


def _without_surrogates(text: str) -> str:
    """Lone surrogates can come in through JSON escapes and could not be stored as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("not valid Unicode text") from error
    return text


Text = Annotated[str, AfterValidator(_without_surrogates)]
Title = Annotated[Text, Field(max_length=MAX_TITLE_CHARS, examples=["Night drive"])]


class Request(BaseModel):
    """A request body: an unknown field is an error, so that no misspelt one is silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Generation(Request):
    """How to generate. The bounds here are those of the format; the server's own (`GET /v1/config`) may be
    narrower."""

    prompt: Annotated[Text, Field(max_length=4000, examples=["warm analogue synths, 96 bpm"])] = ""
    duration_s: Annotated[FiniteFloat, Field(gt=0, examples=[6.0])] = 10.0
    prompt_duration_s: Annotated[FiniteFloat, Field(gt=0, examples=[10.0])] = 10.0
    cfg_coef: Annotated[FiniteFloat, Field(ge=0, le=20)] = 3.0
    temperature: Annotated[FiniteFloat, Field(gt=0, le=5)] = 1.0
    top_k: Annotated[int, Field(ge=0, le=4096)] = 250
    top_p: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.0
    seed: Annotated[int | None, Field(ge=0, lt=SEED_COUNT)] = None
    model: Annotated[str | None, Field(max_length=200, examples=["tiny"])] = None


class NewChain(Generation):
    """A chain whose root is generated from its prompt."""

    title: Title = ""


class NewNodes(Generation):
    """Takes of a continuation."""

    parent_id: Annotated[str, Field(max_length=64)]
    mode: GenerationMode = GenerationMode.CONTINUE
    takes: Annotated[int, Field(ge=1, le=64)] = 1


class ChainPatch(Request):
    title: Title


class NewExport(Request):
    format: Annotated[AudioFormat, Field(examples=["wav"])]
    bit_depth: Annotated[int | None, Field(description="wav: 16, 24 (default) or 32; flac: 16 or 24")] = None
    sample_rate_hz: Annotated[int | None, Field(ge=8000, le=192_000)] = None


class AudioView(BaseModel):
    duration_s: float
    samples: int
    sample_rate_hz: int
    channels: int
    rms_dbfs: float
    peak_dbfs: float
    sha256: str
    url: str
    original_format: str | None = None


class ErrorView(BaseModel):
    code: str
    detail: str


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
    created_at: str
    audio: AudioView | None = None
    error: ErrorView | None = None


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


class ChainListView(BaseModel):
    chains: list[ChainView]
    cursor: str | None


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


class StageView(BaseModel):
    name: str
    seconds: float


class JobView(BaseModel):
    id: str
    job_id: str
    kind: str
    state: str
    attempt: int
    progress: float
    cancel_requested: bool
    chain_id: str | None
    node_id: str | None
    stages: list[StageView]
    result: dict[str, Any] | None
    error: ErrorView | None
    created_at: str
    updated_at: str
    started_at: str | None
    finished_at: str | None


class JobListView(BaseModel):
    jobs: list[JobView]
    cursor: str | None


class ModelView(BaseModel):
    name: str
    engine: str
    licence: str
    sample_rate_hz: int
    channels: int
    modes: list[str]
    description: str
    default: bool
    status: str
    replicas: int


class ModelListView(BaseModel):
    models: list[ModelView]


class DeploymentView(BaseModel):
    status: Annotated[str, Field(examples=["HEALTHY", "UPSCALING"])]
    target_replicas: Annotated[int, Field(description="how many the autoscaler wants now")]
    replicas: Annotated[dict[str, int], Field(examples=[{"RUNNING": 2, "STARTING": 1}])]
    resources: Annotated[
        dict[str, float], Field(description="of one replica", examples=[{"CPU": 1.0, "GPU": 0.25}])
    ]
    ongoing: Annotated[
        int | None,
        Field(
            description="worked on now: requests (Ingress), jobs (JobRunner), takes that an engine has begun "
            "(Generator); null: not counted, or not known at the moment"
        ),
    ]
    queued: Annotated[
        int | None, Field(description="waits for its turn: jobs in runners, takes for an engine")
    ]


class JobCountView(BaseModel):
    unfinished: Annotated[int, Field(description="all that storage has, those being worked on among them")]
    waiting: Annotated[int | None, Field(description="of these, what no runner works on; null: not known")]


class CapacityView(BaseModel):
    """The whole cluster's, not the caller's share of it."""

    gpus_total: Annotated[float, Field(description="as Ray counts them, logical ones among them")]
    gpus_free: Annotated[float, Field(description="what no replica has taken, in fractions of a GPU")]
    gpu_id: int | None
    deployments: dict[str, DeploymentView]
    jobs: JobCountView


def node_view(chain_id: str, node: Node, progress_of: ProgressOf) -> NodeView:
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
        progress=_progress(node, progress_of),
        created_at=format_time(node.created_at),
        audio=_audio_view(chain_id, node.id, node.audio) if node.audio is not None else None,
        error=_error_view(node.error),
    )


def chain_view(chain: Chain, progress_of: ProgressOf, *, job_id: str | None = None) -> ChainView:
    return ChainView(
        id=chain.id,
        title=chain.title,
        version=chain.version,
        created_at=format_time(chain.created_at),
        updated_at=format_time(chain.updated_at),
        root_id=chain.root_id,
        sample_rate_hz=chain.sample_rate_hz,
        channels=chain.channels,
        nodes=[node_view(chain.id, node, progress_of) for node in chain.nodes],
        spine=[node.id for node in spine(chain)],
        job_id=job_id,
    )


def spine_view(chain: Chain, progress_of: ProgressOf) -> SpineView:
    """The committed nodes in order. `offset_s` is the running sum of the samples before, so it never drifts."""
    offset_s, nodes = 0.0, []
    samples = 0
    for node in spine(chain):
        shown = node_view(chain.id, node, progress_of)
        nodes.append(SpineNodeView(**shown.model_dump(), offset_s=offset_s))
        if node.audio is not None:
            samples += node.audio.samples
            offset_s = samples / node.audio.sample_rate_hz
    return SpineView(chain_id=chain.id, version=chain.version, duration_s=offset_s, nodes=nodes)


def job_view(job: Job, progress_of: ProgressOf) -> JobView:
    heard = progress_of(job.id)
    return JobView(
        id=job.id,
        job_id=job.id,
        kind=job.kind.value,
        state=job.state.value,
        attempt=job.attempt,
        progress=job.progress if heard is None or job.state.is_finished else max(heard, job.progress),
        cancel_requested=job.cancel_requested,
        chain_id=job.chain_id,
        node_id=job.node_id,
        stages=[StageView(name=stage.name, seconds=stage.seconds) for stage in job.stages],
        result=None if job.result is None else dict(job.result),
        error=_error_view(job.error),
        created_at=format_time(job.created_at),
        updated_at=format_time(job.updated_at),
        started_at=None if job.started_at is None else format_time(job.started_at),
        finished_at=None if job.finished_at is None else format_time(job.finished_at),
    )


def model_list_view(
    entries: tuple[ModelEntry, ...], default: str, states: Mapping[str, ModelState]
) -> ModelListView:
    unknown = ModelState("loading", 0)
    return ModelListView(
        models=[
            ModelView(
                name=entry.name,
                engine=entry.engine,
                licence=entry.licence,
                sample_rate_hz=entry.sample_rate_hz,
                channels=entry.channels,
                modes=[mode.value for mode in entry.modes],
                description=entry.description,
                default=entry.name == default,
                status=states.get(entry.name, unknown).status,
                replicas=states.get(entry.name, unknown).replicas,
            )
            for entry in entries
        ]
    )


def capacity_view(capacity: Capacity) -> CapacityView:
    runners = capacity.deployments.get("JobRunner")
    working = runners.load.ongoing if runners is not None and runners.load is not None else None
    return CapacityView(
        gpus_total=capacity.gpus.total,
        gpus_free=capacity.gpus.free,
        gpu_id=capacity.gpus.id,
        deployments={
            name: DeploymentView(
                status=found.status,
                target_replicas=found.target_replicas,
                replicas=dict(found.replicas),
                resources=dict(found.resources),
                ongoing=None if found.load is None else found.load.ongoing,
                queued=None if found.load is None else found.load.queued,
            )
            for name, found in capacity.deployments.items()
        },
        jobs=JobCountView(
            unfinished=capacity.unfinished_jobs,
            waiting=None if working is None else max(0, capacity.unfinished_jobs - working),
        ),
    )


def _progress(node: Node, progress_of: ProgressOf) -> float:
    if node.status is NodeStatus.READY:
        return 1.0
    if node.status is NodeStatus.RUNNING and node.job_id is not None:
        return progress_of(node.job_id) or 0.0
    return 0.0


def _audio_view(chain_id: str, node_id: str, audio: NodeAudio) -> AudioView:
    return AudioView(
        duration_s=audio.duration_s,
        samples=audio.samples,
        sample_rate_hz=audio.sample_rate_hz,
        channels=audio.channels,
        rms_dbfs=audio.rms_dbfs,
        peak_dbfs=audio.peak_dbfs,
        sha256=audio.blob.sha256,
        url=f"/v1/chains/{chain_id}/nodes/{node_id}/audio",
        original_format=audio.original_format,
    )


def _error_view(error: Failure | None) -> ErrorView | None:
    return None if error is None else ErrorView(code=error.code, detail=error.detail)
