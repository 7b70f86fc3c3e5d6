"""Which take of one request kept best to what was asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from storage.domain.model import Chain, DerivedKind, Node


def ranks(chain: Chain) -> Mapping[str, int]:
    """By node: 1 for the best of the takes that one request made and that are ready, and so on; equals share a
    rank. Only takes that were measured have one, and only where there are several."""
    return {
        node_id: 1 + sum(other > score for other in scores.values())
        for scores in _scores_by_request(chain).values()
        if len(scores) > 1
        for node_id, score in scores.items()
    }


def fellow_takes(chain: Chain, nodes: Collection[Node]) -> tuple[Node, ...]:
    """The measured takes of these nodes' requests without the nodes themselves: a change of one node can change
    the ranks of them all."""
    given = {node.id for node in nodes}
    fellows = {
        fellow
        for scores in _scores_by_request(chain).values()
        if not given.isdisjoint(scores)
        for fellow in scores
    }
    return tuple(node for node in chain.nodes if node.id in fellows - given)


def takes_beside(chain: Chain, node_id: str) -> tuple[Node, ...]:
    """The other takes of the request that made this node. Raises NodeNotFound."""
    request = _request_of(chain.node(node_id))
    return tuple(node for node in chain.nodes if node.id != node_id and _request_of(node) == request)


def _request_of(node: Node) -> tuple[object, ...]:
    """Takes of one request were requested at one moment, with one prompt."""
    return (node.parent_id, node.created_at, node.prompt)


def _scores_by_request(chain: Chain) -> Mapping[tuple[object, ...], Mapping[str, float]]:
    requests: dict[tuple[object, ...], dict[str, float]] = {}
    for node in chain.nodes:
        score = _score(node)
        if score is not None:
            requests.setdefault(_request_of(node), {})[node.id] = score
    return requests


def _score(node: Node) -> float | None:
    for derived in reversed(node.derived):
        if derived.kind is DerivedKind.ANALYSIS and derived.summary and "adherence" in derived.summary:
            score: float | None = derived.summary["adherence"]["score"]
            return score
    return None
