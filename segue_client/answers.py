"""What Segue's server answers, as far as a client reads it, and what can go wrong.

Shapes are the documented ones. Fields that this client does not know are left alone, so a newer server does
no harm.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

R = TypeVar("R", bound=BaseModel)

_NOT_NOW = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class ClientError(Exception):
    """Something that the person at the keyboard should read.

    ClientError
    ├── Unreachable    no server answers there
    ├── Rejected       the server answered with an error (problem+json)
    ├── BadAnswer      what answered does not speak as Segue does
    ├── WorkFailed     the server took the work, but it failed or was cancelled
    ├── Misused        arguments that do not go together, or name no such thing here
    └── NoSuchId       an id, or the beginning of one, that names nothing, or several things
    """


class Unreachable(ClientError):
    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no answer from {url}: {reason}")
        self.url = url


class Rejected(ClientError):
    """`retry_after_s` is the server's wish, if it sent one in seconds. `is_passing`: asking again may help.

    A 404, or an error of 500 or more, that is no problem+json is the word of Serve's proxy: it knows of no
    application yet, or whoever was asked has died.
    """

    def __init__(self, response: httpx.Response) -> None:
        problem = _problem(response)
        self.status = response.status_code
        self.title = str(problem.get("title") or response.reason_phrase or f"HTTP {self.status}")
        self.detail = str(problem.get("detail") or "")
        self.request_id: str | None = problem.get("request_id")
        from_proxy = not problem and (self.status == httpx.codes.NOT_FOUND or self.status >= 500)
        self.is_passing = from_proxy or self.status in _NOT_NOW
        wish = response.headers.get("retry-after", "")
        self.retry_after_s = float(wish) if wish.isdecimal() else None
        super().__init__(f"{self.title}: {self.detail}" if self.detail else self.title)


class BadAnswer(ClientError):
    pass


class WorkFailed(ClientError):
    pass


class Misused(ClientError):
    pass


class NoSuchId(ClientError):
    pass


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,255}$")]
"""Ids are shown, and become parts of addresses: nothing else in them is taken."""


class Record(RootModel[dict[str, Any]]):
    """An answer that is shown as it is."""


class Failure(Answer):
    code: str = ""
    detail: str = ""


class Damaged(Answer):
    """A record that is there and cannot be read. It can be deleted."""

    id: Id
    created_at: str = ""
    reason: str = ""


class Audio(Answer):
    """A ready node's sound. `original_name` is the uploaded file's own name."""

    sample_rate_hz: int | None = None
    channels: int | None = None
    original_name: str | None = None


class NodeAnalysis(Answer):
    """A node's newest analysis in short. `rank` is among the takes of one request, 1 the best."""

    status: str = ""
    bpm: float | None = None
    key: str | None = None
    rank: int | None = None
    error: Failure | None = None


class NodeStems(Answer):
    """One separation of a node."""

    status: str = ""
    error: Failure | None = None


class CroppedFrom(Answer):
    """Which part of which node a crop is, in seconds of that node's audio."""

    node_id: Id
    from_s: float
    to_s: float


class Node(Answer):
    """One piece of new audio. `progress` is 0..1 while it is being made; `queue_position` is 1 where its job is the
    next, `eta_s` the seconds until it is ready, both None where that is not known."""

    id: Id
    parent_id: Id | None
    status: str
    decision: str
    duration_s: float
    prompt: str | None = None
    seed: int | None = None
    job_id: Id | None = None
    progress: float | None = None
    queue_position: int | None = None
    eta_s: float | None = None
    error: Failure | None = None
    audio: Audio | None = None
    analysis: NodeAnalysis | None = None
    stems: tuple[NodeStems, ...] = ()
    title: str | None = None
    stars: int = 0
    note: str | None = None
    cropped_from: CroppedFrom | None = None

    @property
    def is_finished(self) -> bool:
        return self.status in ("ready", "failed", "cancelled")


class Step(Answer):
    """A decision that can be undone, or redone: about a node, or (None) about the chain."""

    action: str
    node_id: Id | None = None
    at: str = ""


class Chain(Answer):
    """A tree of nodes; `spine` has the committed path's ids from the root on."""

    id: Id
    title: str
    version: int
    updated_at: str
    root_id: Id
    nodes: tuple[Node, ...]
    spine: tuple[Id, ...]
    sample_rate_hz: int | None = None
    channels: int | None = None
    undo: Step | None = None
    redo: Step | None = None
    notices: tuple[str, ...] = ()

    def node(self, start: str) -> Node:
        """The node whose id is `start`, or the only one whose id begins so. Raises NoSuchId."""
        wanted = matching(start, [node.id for node in self.nodes], "node")
        return next(node for node in self.nodes if node.id == wanted)

    @property
    def spine_s(self) -> float:
        """The length of the committed line."""
        return sum(node.duration_s for node in self.nodes if node.id in self.spine)


class ChainPage(Answer):
    chains: tuple[Chain, ...]
    cursor: str | None = None
    damaged: tuple[Damaged, ...] = ()


class Branch(Answer):
    """What a branch request began: `job_ids[i]` makes `nodes[i]`. `notices` are sentences about it; `crop` is the
    takes' parent where they continue from within a node."""

    nodes: tuple[Node, ...]
    job_ids: tuple[Id, ...]
    notices: tuple[str, ...] = ()
    crop: Node | None = None


class DiffRow(Answer):
    """A bar or window of two lines, in seconds; None where a line has ended. Distances as the server has them."""

    a_from_s: float | None = None
    a_to_s: float | None = None
    b_from_s: float | None = None
    b_to_s: float | None = None
    same: bool
    chroma: float | None = None
    onsets: float | None = None
    loudness: float | None = None


class DiffParameter(Answer):
    name: str
    a: Any = None
    b: Any = None


class Diff(Answer):
    """Two branches from where they part."""

    ancestor_id: Id | None
    unit: str
    rows: tuple[DiffRow, ...]
    parameters: tuple[DiffParameter, ...]


class Crop(Answer):
    node: Node


class Accepted(Answer):
    job_id: Id


class Job(Answer):
    id: Id
    kind: str = ""
    state: str
    progress: float | None = None
    queue_position: int | None = None
    eta_s: float | None = None
    cancel_requested: bool = False
    chain_id: Id | None = None
    node_id: Id | None = None
    created_at: str = ""
    result: dict[str, Any] | None = None
    error: Failure | None = None

    @property
    def is_finished(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")


class JobSnapshot(Answer):
    """All unfinished jobs."""

    jobs: tuple[Job, ...]


class JobPage(Answer):
    jobs: tuple[Job, ...]
    cursor: str | None = None
    damaged: tuple[Damaged, ...] = ()


class Track(Answer):
    """A file that a job made: `format` is its file name's ending."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
    format: Annotated[str, Field(pattern=r"^[a-z0-9]{1,8}$")] = "wav"


class Separation(Answer):
    job_id: Id
    tracks: tuple[Track, ...]


class Stems(Answer):
    """All separations of a node."""

    separations: tuple[Separation, ...]


class StageReport(Answer):
    name: str
    state: str
    error: Failure | None = None


class Manifest(Answer):
    """How a track that is taken apart does. A stage that fails skips only what needs it."""

    stages: tuple[StageReport, ...] = ()


class Outputs(Answer):
    outputs: tuple[Track, ...]


class Analysis(Answer):
    """What the newest analysis of a node says; `analysis` as the server's documentation has it."""

    status: str
    analysis: dict[str, Any] | None


class Model(Answer):
    """A model that is served: one that generates, separates or analyses. Bytes are those of its download."""

    name: str
    licence: str | None = None
    default: bool = False
    status: str | None = None
    detail: str = ""
    sample_rate_hz: int | None = None
    channels: int | None = None
    done_bytes: int = 0
    total_bytes: int = 0


class ModelList(Answer):
    """`models` generate, `separators` make stems, `analyser` analyses."""

    models: tuple[Model, ...]
    separators: tuple[Model, ...] = ()
    analyser: Model | None = None


def check(response: httpx.Response) -> None:
    """Raises Rejected unless the answer is a success; reads a streamed body for what it says."""
    if not response.is_success:
        response.read()
        raise Rejected(response)


def read_answer(shape: type[R], response: httpx.Response) -> R:
    """The answer's JSON as `shape`. Raises Rejected, BadAnswer."""
    check(response)
    try:
        return shape.model_validate_json(response.content)
    except ValidationError as error:
        where = response.url.copy_with(query=None)
        raise BadAnswer(f"what answers at {where} is not a Segue server that this client knows") from error


def matching(start: str, ids: Collection[str], noun: str) -> str:
    """The id that is `start`, or the only one that begins with it. Raises NoSuchId."""
    if start in ids:
        return start
    found = [candidate for candidate in ids if start and candidate.startswith(start)]
    if len(found) > 1:
        raise NoSuchId(f"{start} could be {len(found)} {noun}s: {', '.join(sorted(found)[:5])}")
    if not found:
        raise NoSuchId(f"no {noun} {start}")
    return found[0]


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


class Key(Answer):
    id: Id
    tenant: str
    tier: str
    label: str = ""
    state: str
    created_at: str
    expires_at: str | None = None


class MadeKey(Key):
    key: str
    notice: str | None = None


class KeyList(Answer):
    keys: tuple[Key, ...]


class Amounts(Answer):
    jobs: int = 0
    gpu_s: float = 0.0
    audio_s: float = 0.0
    stored_bytes: int = 0
    upload_bytes: int = 0


class UsedDay(Answer):
    day: str
    kinds: dict[str, Amounts] = {}
    total: Amounts


class Usage(Answer):
    tenant: str
    tier: str | None = None
    limits: dict[str, float | None] = {}
    stored_bytes: int = 0
    held: Amounts
    days: tuple[UsedDay, ...] = ()


class TenantUsage(Answer):
    tenant: str
    stored_bytes: int = 0
    held: Amounts
    today: Amounts


class Tenants(Answer):
    tenants: tuple[TenantUsage, ...]
    cursor: str | None = None


class AuditEntry(Answer):
    at: str
    tenant: str | None = None
    key: str | None = None
    action: str
    status: int
    ids: dict[str, str] = {}
    sha256: str | None = None
    client: str | None = None


class AuditPage(Answer):
    entries: tuple[AuditEntry, ...]
    cursor: str | None = None
