"""What a musician decides about the nodes of a chain, each a pure function from a chain to a chain.

As in `edits`: a function returns the *same object* when there is nothing to change, and may be applied again. Each
leaves the way back in the chain's history.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from storage.domain.edits import require_alive, update
from storage.domain.history import recorded
from storage.domain.model import Action, Chain, Decision, Node, NodeStatus, Refused
from storage.domain.tree import children_of, path_to, subtree

MAX_STARS = 5


@dataclass(frozen=True, slots=True)
class Marks:
    """What a musician writes on a node: None leaves a mark as it is, an empty text takes it away."""

    title: str | None = None
    stars: int | None = None
    note: str | None = None


def commit(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Put a ready node at the spine's end, or in place of a committed sibling.

    The replaced sibling and its committed descendants become candidates. Again is no change. A node without a
    parent takes the place of the one that the spine begins with. Raises Refused for a node that is not ready,
    is discarded, or whose parent is not on the spine; NodeNotFound; ChainDeleted.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if node.decision is Decision.COMMITTED:
        return chain
    if node.decision is Decision.DISCARDED:
        raise Refused(f"node {node_id} is discarded")
    if node.status is not NodeStatus.READY:
        raise Refused(f"node {node_id} is {node.status}, not ready")
    if node.parent_id is not None and chain.node(node.parent_id).decision is not Decision.COMMITTED:
        raise Refused(f"the parent of node {node_id} is not on the spine")
    replaced = [
        off
        for sibling in children_of(chain, node.parent_id)
        if sibling.decision is Decision.COMMITTED
        for off in _off_the_spine(chain, sibling.id)
    ]
    changed = update(chain, [*replaced, replace(node, decision=Decision.COMMITTED)], now)
    return recorded(chain, changed, Action.COMMIT, node_id, now)


def uncommit(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Take a node off the spine: it and its committed descendants become candidates.

    A node that is not on the spine stays as it is, so again is no change. Raises Refused for the spine's first,
    NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if node.decision is not Decision.COMMITTED:
        return chain
    if node.parent_id is None:
        raise Refused(f"node {node_id} is the chain's root: the spine always begins with one")
    changed = update(chain, _off_the_spine(chain, node_id), now)
    return recorded(chain, changed, Action.UNCOMMIT, node_id, now)


def discard(chain: Chain, node_id: str, now: datetime) -> Chain:
    """Discard a node and all below it; what is unfinished among them is cancelled.

    Again is no change. Raises Refused on the spine, NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    if chain.node(node_id).decision is Decision.COMMITTED:
        raise Refused(
            f"node {node_id} is on the spine: uncommit it, or commit another take in its place, first"
        )
    lost = [node for node in subtree(chain, node_id) if node.decision is not Decision.DISCARDED]
    if not lost:
        return chain
    version = chain.version + 1
    changed = update(chain, [_discarded(node, version) for node in lost], now)
    return recorded(chain, changed, Action.DISCARD, node_id, now)


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
    taken_along = [below for below in subtree(chain, node_id) if below.discarded_in == node.discarded_in]
    above = [one for one in path_to(chain, node_id)[:-1] if one.decision is Decision.DISCARDED]
    back = [replace(one, decision=Decision.CANDIDATE, discarded_in=None) for one in (*above, *taken_along)]
    return recorded(chain, update(chain, back, now), Action.RESTORE, node_id, now)


def rename(chain: Chain, title: str, now: datetime) -> Chain:
    """Change the chain's title. Raises ChainDeleted."""
    require_alive(chain)
    if title == chain.title:
        return chain
    return recorded(chain, update(chain, [], now, title=title), Action.RENAME, None, now)


def mark(chain: Chain, node_id: str, marks: Marks, now: datetime) -> Chain:
    """Give a node, in whatever state, a title, stars or a note. Equal marks are no change.

    Raises ValueError for stars outside 0 to 5, NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    node = chain.node(node_id)
    if marks.stars is not None and not 0 <= marks.stars <= MAX_STARS:
        raise ValueError(f"stars are 0 to {MAX_STARS}, not {marks.stars}")
    marked = replace(
        node,
        title=node.title if marks.title is None else marks.title or None,
        stars=node.stars if marks.stars is None else marks.stars,
        note=node.note if marks.note is None else marks.note or None,
    )
    if marked == node:
        return chain
    return recorded(chain, update(chain, [marked], now), _action_of(node, marked), node_id, now)


def _action_of(before: Node, after: Node) -> Action:
    """Which mark was changed."""
    actions = {"title": Action.RENAME, "stars": Action.STAR, "note": Action.NOTE}
    changed = [action for name, action in actions.items() if getattr(before, name) != getattr(after, name)]
    return changed[0] if len(changed) == 1 else Action.MARK


def _off_the_spine(chain: Chain, node_id: str) -> list[Node]:
    """The committed ones among a node and its descendants, as candidates."""
    return [
        replace(node, decision=Decision.CANDIDATE)
        for node in subtree(chain, node_id)
        if node.decision is Decision.COMMITTED
    ]


def _discarded(node: Node, version: int) -> Node:
    """The node as the discard that makes this version of the chain leaves it: with nothing unfinished."""
    return replace(
        node,
        decision=Decision.DISCARDED,
        discarded_in=version,
        status=_ended(node.status),
        derived=tuple(replace(derived, status=_ended(derived.status)) for derived in node.derived),
    )


def _ended(status: NodeStatus) -> NodeStatus:
    return status if status.is_finished else NodeStatus.CANCELLED
