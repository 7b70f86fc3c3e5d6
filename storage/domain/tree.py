"""Questions about a chain's shape: paths, children, subtrees, the spine."""

from __future__ import annotations

from collections import defaultdict

from storage.domain.model import Chain, Decision, Node


def path_to(chain: Chain, node_id: str) -> tuple[Node, ...]:
    """The nodes from the root to `node_id`, both included. Raises NodeNotFound."""
    by_id = {node.id: node for node in chain.nodes}
    node: Node | None = chain.node(node_id)
    path: list[Node] = []
    while node is not None:
        path.append(node)
        node = by_id[node.parent_id] if node.parent_id is not None else None
    return tuple(reversed(path))


def children_of(chain: Chain, node_id: str | None) -> tuple[Node, ...]:
    """None: the nodes without a parent, the root and its crops."""
    return tuple(node for node in chain.nodes if node.parent_id == node_id)


def subtree(chain: Chain, node_id: str) -> tuple[Node, ...]:
    """`node_id` and all below it, parents first. Raises NodeNotFound."""
    children: dict[str | None, list[Node]] = defaultdict(list)
    for node in chain.nodes:
        children[node.parent_id].append(node)
    found: list[Node] = [chain.node(node_id)]
    for node in found:  # grows while it is walked: breadth first
        found.extend(children[node.id])
    return tuple(found)


def spine(chain: Chain) -> tuple[Node, ...]:
    """The committed path from the root. A node has at most one committed child."""
    committed = {n.parent_id: n for n in chain.nodes if n.decision is Decision.COMMITTED}
    line: list[Node] = []
    node = committed.get(None)
    while node is not None:
        line.append(node)
        node = committed.get(node.id)
    return tuple(line)
