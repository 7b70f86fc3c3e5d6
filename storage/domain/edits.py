"""Every lawful change of a chain, each a pure function from a chain to a chain.

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
    Node,
    NodeAudio,
    NodeStatus,
    Refused,
)
from storage.domain.ranking import takes_beside
from storage.domain.tree import children_of, path_to, subtree

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


def commit(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Put a ready node at the spine's end, or in place of a committed sibling.

    The replaced sibling and its committed descendants become candidates. Again is no change. Raises Refused
    for a node that is not ready, is discarded, or whose parent is not on the spine; NodeNotFound;
    ChainDeleted.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if node.decision is Decision.COMMITTED:
        return chain
    if node.decision is Decision.DISCARDED:
        raise Refused(f"node {node_id} is discarded")
    if node.status is not NodeStatus.READY:
        raise Refused(f"node {node_id} is {node.status}, not ready")
    if node.parent_id is None or chain.node(node.parent_id).decision is not Decision.COMMITTED:
        raise Refused(f"the parent of node {node_id} is not on the spine")
    replaced = [
        off
        for sibling in children_of(chain, node.parent_id)
        if sibling.decision is Decision.COMMITTED
        for off in _off_the_spine(chain, sibling.id)
    ]
    return update(chain, [*replaced, replace(node, decision=Decision.COMMITTED)], now)


def uncommit(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Take a node off the spine: it and its committed descendants become candidates.

    A node that is not on the spine stays as it is, so again is no change. Raises Refused for the root,
    NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if node.decision is not Decision.COMMITTED:
        return chain
    if node.parent_id is None:
        raise Refused(f"node {node_id} is the chain's root: the spine always begins with it")
    return update(chain, _off_the_spine(chain, node_id), now)


def discard(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Discard a node and all below it; what is unfinished among them is cancelled.

    Again is no change. Raises Refused on the spine, NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    if chain.node(node_id).decision is Decision.COMMITTED:
        raise Refused(
            f"node {node_id} is on the spine: uncommit it, or commit another take in its place, first"
        )
    discarded = [
        replace(
            node,
            decision=Decision.DISCARDED,
            status=_ended(node.status),
            derived=tuple(replace(derived, status=_ended(derived.status)) for derived in node.derived),
        )
        for node in subtree(chain, node_id)
    ]
    changed = [node for node in discarded if node != chain.node(node.id)]
    return update(chain, changed, now) if changed else chain


def restore(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Make a discarded node a candidate again, with what a candidate needs and what was lost with it.

    Its discarded ancestors come back, because a candidate does not hang from a discarded node. Of the nodes
    below, those come back that the same discard took along; what was discarded in a step of its own before
    stays discarded, as does what else the ancestors have below them. Statuses stay: cancelled work is not
    begun again. A node that is not discarded stays as it is, so again is no change.

    Raises NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if node.decision is not Decision.DISCARDED:
        return chain
    # Nothing changes a discarded node until it is restored, so its `changed_version` names its discard.
    taken_along = [
        below for below in subtree(chain, node_id) if below.changed_version == node.changed_version
    ]
    above = [one for one in path_to(chain, node_id)[:-1] if one.decision is Decision.DISCARDED]
    return update(chain, [replace(one, decision=Decision.CANDIDATE) for one in (*above, *taken_along)], now)


def rename(chain: Chain, title: str, now: datetime) -> Chain:
    """Change the title. Raises ChainDeleted."""
    require_alive(chain)
    return chain if title == chain.title else update(chain, [], now, title=title)


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


def _off_the_spine(chain: Chain, node_id: str) -> list[Node]:
    """The committed ones among a node and its descendants, as candidates."""
    return [
        replace(node, decision=Decision.CANDIDATE)
        for node in subtree(chain, node_id)
        if node.decision is Decision.COMMITTED
    ]


def _require_fence(node: Node, fence: int) -> None:
    if node.fence != fence or node.status is not NodeStatus.RUNNING:
        raise Fenced(f"node {node.id} is {node.status} under claim {node.fence}, not {fence}")


def _ended(status: NodeStatus) -> NodeStatus:
    return status if status.is_finished else NodeStatus.CANCELLED


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
