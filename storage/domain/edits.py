"""A chain's making, its end, and how its nodes come to be: each change a pure function from a chain to a chain.

What a musician decides about nodes that are there is in `decisions` and `crops`, in the same form.

A function returns the *same object* when there is nothing to change, and the caller then writes nothing.
Otherwise the version is one higher and every changed node carries it as `changed_version`. Each may be
applied again to a newer chain: that is how a lost compare-and-swap race is settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from storage.domain.model import (
    Chain,
    ChainDeleted,
    Decision,
    Failure,
    Fenced,
    History,
    Node,
    NodeAudio,
    NodeStatus,
    Refused,
)
from storage.domain.ranking import takes_beside

DELETED_TITLE = ""


def new_chain(
    *,
    chain_id: str,
    tenant: str,
    title: str,
    root: Node,
    now: datetime,
    request_sha256: str | None = None,
) -> Chain:
    """A chain of one committed root, at version 1. An uploaded root brings the chain's format with it."""
    if root.parent_id is not None:
        raise ValueError("a root has no parent")
    return Chain(
        id=chain_id,
        tenant=tenant,
        title=title,
        version=1,
        created_at=now,
        updated_at=now,
        root_id=root.id,
        nodes=(replace(root, decision=Decision.COMMITTED, changed_version=1),),
        sample_rate_hz=root.audio.sample_rate_hz if root.audio else None,
        channels=root.audio.channels if root.audio else None,
        request_sha256=request_sha256,
    )


def add_nodes(chain: Chain, nodes: Iterable[Node], now: datetime) -> Chain:
    """Add pending candidates below parents that are ready and not discarded.

    Idempotent by node id: a node that is there already stays as it is. Raises NodeNotFound for an unknown
    parent, Refused for one that cannot be branched from, ChainDeleted.
    """
    require_alive(chain)
    known = {node.id for node in chain.nodes}
    new = list({node.id: node for node in nodes if node.id not in known}.values())
    if not new:
        return chain
    for node in new:
        if node.parent_id is None:
            raise Refused("a chain has one root")
        parent = chain.node(node.parent_id)
        if not parent.can_be_branched:
            state = parent.decision if parent.decision is Decision.DISCARDED else parent.status
            raise Refused(f"parent {parent.id} is {state}: only a ready node that is not discarded branches")
    version = chain.version + 1
    added = tuple(replace(node, changed_version=version) for node in new)
    return replace(chain, version=version, updated_at=now, nodes=chain.nodes + added)


def start(chain: Chain, node_id: str, fence: int, now: datetime) -> Chain:
    """Copy a claim's fence into the node, upward only, and mark it running.

    Raises Fenced if a newer claim is there, NodeNotFound, ChainDeleted. A finished node stays as it is.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if node.status.is_finished:
        return chain
    if node.fence > fence:
        raise Fenced(f"node {node_id} is held by claim {node.fence}, not {fence}")
    if node.fence == fence and node.status is NodeStatus.RUNNING:
        return chain
    return update(chain, [replace(node, fence=fence, status=NodeStatus.RUNNING)], now)


def publish(
    chain: Chain,
    node_id: str,
    fence: int,
    audio: NodeAudio,
    provenance: Mapping[str, Any],
    now: datetime,
) -> Chain:
    """Make a running node ready: the commit point of a generation.

    A finished node stays as it is (the caller copies its outcome). Raises Fenced unless `fence` is the
    node's, NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if node.status.is_finished:
        return chain
    _require_fence(node, fence)
    ready = replace(
        node,
        status=NodeStatus.READY,
        audio=audio,
        provenance=dict(provenance),
        duration_s=audio.duration_s,
        error=None,
    )
    changed = update(chain, [ready], now)
    if node.id == chain.root_id:
        changed = replace(changed, sample_rate_hz=audio.sample_rate_hz, channels=audio.channels)
    return changed


def fail(chain: Chain, node_id: str, fence: int, error: Failure, now: datetime) -> Chain:
    """Mark an unfinished node failed. Raises Fenced unless `fence` is the node's, NodeNotFound, ChainDeleted."""
    require_alive(chain)
    node = chain.node(node_id)
    if node.status.is_finished:
        return chain
    _require_fence(node, fence)
    return update(chain, [replace(node, status=NodeStatus.FAILED, error=error)], now)


def cancel(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Cancel an unfinished node; a finished one stays as it is. Raises NodeNotFound, ChainDeleted."""
    require_alive(chain)
    node = chain.node(node_id)
    if node.status.is_finished:
        return chain
    return update(chain, [replace(node, status=NodeStatus.CANCELLED)], now)


def cancel_others(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Cancel the unfinished takes of the request that made this node, but not the node itself.

    Again is no change. Raises NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    ended = [
        replace(node, status=NodeStatus.CANCELLED)
        for node in takes_beside(chain, node_id)
        if not node.status.is_finished
    ]
    return update(chain, ended, now) if ended else chain


def delete(chain: Chain, now: datetime) -> Chain:
    """Turn the chain into a tombstone without nodes. Raises ChainDeleted the second time."""
    require_alive(chain)
    return replace(
        chain,
        version=chain.version + 1,
        updated_at=now,
        deleted_at=now,
        title=DELETED_TITLE,
        nodes=(),
        history=History(),
    )


def tombstone(chain_id: str, tenant: str, created_at: datetime, now: datetime) -> Chain:
    """A deleted chain of which nothing is known."""
    return Chain(
        id=chain_id,
        tenant=tenant,
        title=DELETED_TITLE,
        version=1,
        created_at=created_at,
        updated_at=now,
        root_id="",
        nodes=(),
        deleted_at=now,
    )


def require_alive(chain: Chain) -> None:
    """Raises ChainDeleted."""
    if chain.deleted_at is not None:
        raise ChainDeleted(chain.id)


def _require_fence(node: Node, fence: int) -> None:
    if node.fence != fence or node.status is not NodeStatus.RUNNING:
        raise Fenced(f"node {node.id} is {node.status} under claim {node.fence}, not {fence}")


def update(chain: Chain, nodes: Iterable[Node], now: datetime, *, title: str | None = None) -> Chain:
    """The next version: with these nodes in place of those of the same ids."""
    version = chain.version + 1
    changed = {node.id: replace(node, changed_version=version) for node in nodes}
    return replace(
        chain,
        version=version,
        updated_at=now,
        title=chain.title if title is None else title,
        nodes=tuple(changed.get(node.id, node) for node in chain.nodes),
    )
