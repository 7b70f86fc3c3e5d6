"""Lawful changes of what is derived from nodes, as `edits` has them for the nodes themselves.

A derivation is found by its node and its job. Like a node it ends once: `publish`, `fail` and `cancel` leave a
finished one as it is, and the caller copies its outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from storage.domain.edits import require_alive, update
from storage.domain.model import (
    BlobRef,
    Chain,
    Derived,
    DomainError,
    Failure,
    Fenced,
    NodeStatus,
    Refused,
    Track,
)

MAX_DERIVED = 32
"""Of one node: they are all in the chain's document."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a derivation has when it is ready."""

    provenance: Mapping[str, Any]
    tracks: tuple[Track, ...] = ()
    document: BlobRef | None = None
    summary: Mapping[str, Any] | None = None


class DerivationNotFound(DomainError):
    def __init__(self, node_id: str, job_id: str) -> None:
        super().__init__(f"job {job_id} derives nothing from node {node_id}")


def add(chain: Chain, node_id: str, derived: Derived, now: datetime) -> Chain:
    """Begin to derive something from a ready node that is not discarded. Idempotent by job.

    Beyond `MAX_DERIVED` the oldest that failed or was cancelled makes room. Raises Refused, NodeNotFound,
    ChainDeleted.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if node.derivation(derived.job_id) is not None:
        return chain
    if not node.can_be_branched:
        raise Refused(
            f"node {node_id} is {node.status}, {node.decision}: only a ready one that is not discarded"
        )
    kept = list(node.derived)
    if len(kept) >= MAX_DERIVED:
        in_vain = [old for old in kept if old.status in (NodeStatus.FAILED, NodeStatus.CANCELLED)]
        if not in_vain:
            raise Refused(f"node {node_id} has {len(kept)} derivations, and there is no room for more")
        kept.remove(in_vain[0])
    return update(chain, [replace(node, derived=(*kept, derived))], now)


def start(chain: Chain, node_id: str, job_id: str, fence: int, now: datetime) -> Chain:
    """Copy a claim's fence, upward only, and mark the derivation running.

    Raises Fenced if a newer claim is there, DerivationNotFound, NodeNotFound, ChainDeleted.
    """
    derived = find(chain, node_id, job_id)
    if derived.status.is_finished:
        return chain
    if derived.fence > fence:
        raise Fenced(f"job {job_id} is held by claim {derived.fence}, not {fence}")
    if derived.fence == fence and derived.status is NodeStatus.RUNNING:
        return chain
    return _update(chain, node_id, replace(derived, fence=fence, status=NodeStatus.RUNNING), now)


def publish(
    chain: Chain,
    node_id: str,
    job_id: str,
    fence: int,
    made: Made,
    now: datetime,
) -> Chain:
    """The commit point. Raises Fenced unless `fence` is the derivation's, DerivationNotFound, NodeNotFound,
    ChainDeleted."""
    derived = find(chain, node_id, job_id)
    if derived.status.is_finished:
        return chain
    _require_fence(derived, fence)
    return _update(chain, node_id, _ready(derived, made), now)


def attach(chain: Chain, node_id: str, derived: Derived, made: Made, now: datetime) -> Chain:
    """What the job that made the node found out about it at once. Idempotent by job.

    Raises Refused, NodeNotFound, ChainDeleted.
    """
    if chain.node(node_id).derivation(derived.job_id) is not None:
        return chain
    return add(chain, node_id, _ready(derived, made), now)


def fail(chain: Chain, node_id: str, job_id: str, fence: int, error: Failure, now: datetime) -> Chain:
    """Raises Fenced unless `fence` is the derivation's, DerivationNotFound, NodeNotFound, ChainDeleted."""
    derived = find(chain, node_id, job_id)
    if derived.status.is_finished:
        return chain
    _require_fence(derived, fence)
    return _update(chain, node_id, replace(derived, status=NodeStatus.FAILED, error=error), now)


def cancel(chain: Chain, node_id: str, job_id: str, now: datetime) -> Chain:
    """Raises DerivationNotFound, NodeNotFound, ChainDeleted."""
    derived = find(chain, node_id, job_id)
    if derived.status.is_finished:
        return chain
    return _update(chain, node_id, replace(derived, status=NodeStatus.CANCELLED), now)


def find(chain: Chain, node_id: str, job_id: str) -> Derived:
    """Raises DerivationNotFound, NodeNotFound, ChainDeleted."""
    require_alive(chain)
    derived = chain.node(node_id).derivation(job_id)
    if derived is None:
        raise DerivationNotFound(node_id, job_id)
    return derived


def newest_ready(made: Sequence[Derived]) -> Derived | None:
    """Of derivations, the oldest first."""
    return next((derived for derived in reversed(made) if derived.status is NodeStatus.READY), None)


def _require_fence(derived: Derived, fence: int) -> None:
    if derived.fence != fence or derived.status is not NodeStatus.RUNNING:
        raise Fenced(f"job {derived.job_id} is {derived.status} under claim {derived.fence}, not {fence}")


def _ready(derived: Derived, made: Made) -> Derived:
    return replace(
        derived,
        status=NodeStatus.READY,
        tracks=made.tracks,
        document=made.document,
        summary=made.summary,
        provenance=dict(made.provenance),
    )


def _update(chain: Chain, node_id: str, derived: Derived, now: datetime) -> Chain:
    node = chain.node(node_id)
    changed = tuple(derived if old.job_id == derived.job_id else old for old in node.derived)
    return update(chain, [replace(node, derived=changed)], now)
