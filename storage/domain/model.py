"""What a chain and its nodes are.

A chain is a tree of nodes; each node is one piece of *new* audio, never a repeat of its parent's. The
committed path from the root is the spine. Values are immutable; `edits` makes new ones from old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class NodeStatus(StrEnum):
    """How far a node's audio has come: pending -> running -> ready | failed | cancelled."""

    PENDING = "pending"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        return self in (NodeStatus.READY, NodeStatus.FAILED, NodeStatus.CANCELLED)


class Decision(StrEnum):
    """What the musician thinks of a node."""

    CANDIDATE = "candidate"
    COMMITTED = "committed"
    DISCARDED = "discarded"


class Origin(StrEnum):
    """Where a node's audio comes from."""

    UPLOAD = "upload"
    GENERATION = "generation"
    CROP = "crop"


@dataclass(frozen=True, slots=True)
class BlobRef:
    """One immutable blob: its name below the tenant's blobs, the SHA-256 of its bytes, its length."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which part of a blob a node's audio is: it begins at `first_sample` of the `blob_samples` in there.

    `sha256` is that of the float32 WAV of this part alone, which is stored nowhere.
    """

    first_sample: int
    blob_samples: int
    sha256: str


@dataclass(frozen=True, slots=True)
class NodeAudio:
    """A ready node's sound: `samples` frames of new material.

    `blob` is a float32 WAV of exactly these frames, or, with an `excerpt`, of more. `lead_in` is the codec's
    reconstruction of what came just before (a float32 WAV in the same format), which a renderer mixes over
    the parent's tail; None where the node does not continue its parent's sound. `original` is the file as
    uploaded, and `original_name` its owner's name for it: for display, never part of a path.
    """

    blob: BlobRef
    samples: int
    sample_rate_hz: int
    channels: int
    rms_dbfs: float
    peak_dbfs: float
    lead_in: BlobRef | None = None
    original: BlobRef | None = None
    original_format: str | None = None
    original_name: str | None = None
    excerpt: Excerpt | None = None

    @property
    def duration_s(self) -> float:
        return self.samples / self.sample_rate_hz

    @property
    def blob_names(self) -> frozenset[str]:
        """The names of all blobs that belong to it."""
        return frozenset(ref.name for ref in (self.blob, self.lead_in, self.original) if ref is not None)

    @property
    def first_sample(self) -> int:
        """Where the audio begins in its blob."""
        return 0 if self.excerpt is None else self.excerpt.first_sample

    @property
    def sha256(self) -> str:
        """Of the float32 WAV of this audio: equal for equal samples, wherever they are stored."""
        return self.blob.sha256 if self.excerpt is None else self.excerpt.sha256


@dataclass(frozen=True, slots=True)
class Track:
    """One signal that a job made from another: a stem, a mix of some of them, a normalised copy.

    `blob` is a file of `samples` frames in `format`: a float32 WAV where a job works on, perhaps another where
    it delivers. `facts` is what else its stage has to say of it, JSON-able (a gain that was applied).
    """

    name: str
    blob: BlobRef
    format: str
    samples: int
    sample_rate_hz: int
    channels: int
    rms_dbfs: float
    peak_dbfs: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        return self.samples / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a node or job failed: `code` for programs, `detail` for people."""

    code: str
    detail: str


class DerivedKind(StrEnum):
    """What can be derived from a node's audio."""

    STEMS = "stems"
    ANALYSIS = "analysis"


@dataclass(frozen=True, slots=True)
class Derived:
    """What a job derives from a ready node's audio. It follows a node's rules: the same statuses, and only the
    holder of `fence` may publish.

    Once it is ready there are `tracks`, or a `document` (JSON) with `summary`, what of it everybody wants to know.
    """

    job_id: str
    kind: DerivedKind
    created_at: datetime
    params: Mapping[str, Any] = field(default_factory=dict)
    status: NodeStatus = NodeStatus.PENDING
    fence: int = 0
    tracks: tuple[Track, ...] = ()
    document: BlobRef | None = None
    summary: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] | None = None
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class CroppedFrom:
    """The node that a crop is a part of: `samples` frames of its audio from `first_sample` on."""

    node_id: str
    first_sample: int
    samples: int


@dataclass(frozen=True, slots=True)
class Node:
    """One piece of new audio in a chain's tree.

    `fence` is the highest claim on this node's job seen so far: only its holder may publish.
    `changed_version` is the chain version that last changed this node, `discarded_in` the one whose discard took
    it along (0 or less: a discard in the chain that this one was duplicated from).
    `duration_s` is what was asked for; the audio's own length is in `audio`.
    `title`, `stars` (0 to 5) and `note` are the musician's own. `cropped_from` is there for a crop alone.
    """

    id: str
    parent_id: str | None
    origin: Origin
    created_at: datetime
    status: NodeStatus = NodeStatus.PENDING
    decision: Decision = Decision.CANDIDATE
    duration_s: float = 0.0
    prompt: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    take: int = 0
    job_id: str | None = None
    fence: int = 0
    changed_version: int = 0
    audio: NodeAudio | None = None
    provenance: Mapping[str, Any] | None = None
    error: Failure | None = None
    derived: tuple[Derived, ...] = ()
    title: str | None = None
    stars: int = 0
    note: str | None = None
    discarded_in: int | None = None
    cropped_from: CroppedFrom | None = None

    @property
    def can_be_branched(self) -> bool:
        return self.status is NodeStatus.READY and self.decision is not Decision.DISCARDED

    def derivation(self, job_id: str) -> Derived | None:
        """What that job derives from this node."""
        return next((derived for derived in self.derived if derived.job_id == job_id), None)


class Action(StrEnum):
    """A decision of a musician that can be undone. `mark` gives a node several marks at once."""

    COMMIT = "commit"
    UNCOMMIT = "uncommit"
    DISCARD = "discard"
    RESTORE = "restore"
    CROP = "crop"
    RENAME = "rename"
    STAR = "star"
    NOTE = "note"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class NodeChange:
    """What a step makes of one node: the fields of `before`, which it expects, become those of `after`."""

    node_id: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step back, or forward again, of the decision `action` about `node_id` (None: the chain) made at `at`.

    `title` is the chain's (expected, then); `removes` names a crop that goes, `adds` is one that comes back.
    """

    action: Action
    node_id: str | None
    at: datetime
    nodes: tuple[NodeChange, ...] = ()
    title: tuple[str, str] | None = None
    removes: str | None = None
    adds: Node | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Steps, the last one the next to be taken. `requests` are the newest ones that took any."""

    undo: tuple[Step, ...] = ()
    redo: tuple[Step, ...] = ()
    requests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """A tree of nodes, in creation order, each parent before its children.

    `root_id` names the first node. Crops of a node without a parent have none either; one of them all is
    committed. `sample_rate_hz` and `channels` are the canonical format of all its audio, set with the root's audio.
    `deleted_at` makes this record a tombstone. `removed_version` is the last one that took a node away.
    """

    id: str
    tenant: str
    title: str
    version: int
    created_at: datetime
    updated_at: datetime
    root_id: str
    nodes: tuple[Node, ...]
    sample_rate_hz: int | None = None
    channels: int | None = None
    request_sha256: str | None = None
    deleted_at: datetime | None = None
    history: History = field(default_factory=History)
    removed_version: int = 0

    def node(self, node_id: str) -> Node:
        """The node of that id. Raises NodeNotFound."""
        found = self.find(node_id)
        if found is None:
            raise NodeNotFound(node_id)
        return found

    def find(self, node_id: str) -> Node | None:
        return next((node for node in self.nodes if node.id == node_id), None)


class DomainError(Exception):
    """A change or a question that the chain's state does not allow.

    DomainError
    ├── ChainNotFound    no such chain for this tenant
    ├── NodeNotFound     no such node in this chain
    ├── ChainDeleted     the chain is a tombstone
    ├── Refused          the state forbids it (HTTP: 409)
    │   └── ChainFull    the chain is as large as one may be
    └── Fenced           another claim on the node's job is newer: stop, publish nothing
    """


class ChainNotFound(DomainError):
    def __init__(self, chain_id: str) -> None:
        super().__init__(f"no chain {chain_id}")


class NodeNotFound(DomainError):
    def __init__(self, node_id: str) -> None:
        super().__init__(f"no node {node_id} in this chain")


class ChainDeleted(DomainError):
    def __init__(self, chain_id: str) -> None:
        super().__init__(f"chain {chain_id} was deleted")


class Refused(DomainError):
    pass


class ChainFull(Refused):
    def __init__(self, limit: str) -> None:
        super().__init__(
            f"This chain is full: {limit} is the most. Duplicate the part that you work on, and continue there."
        )


class Fenced(DomainError):
    pass
