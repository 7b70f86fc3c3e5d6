"""Duplicates: a chain of its own that begins with what another one has. Pure.

Nodes keep their ids and name the same blobs: nothing is copied. What is unfinished, failed or was cancelled stays
behind, for a job makes one node in one chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from storage.domain.edits import require_alive
from storage.domain.model import Chain, Decision, History, Node, NodeStatus, Refused
from storage.domain.tree import path_to, subtree


def duplicate(
    chain: Chain,
    node_id: str | None,
    *,
    chain_id: str,
    title: str,
    request_sha256: str | None,
    now: datetime,
) -> Chain:
    """A new chain at version 1 of all that is ready: of the whole chain, or of the path to a node and all below it.

    Decisions and marks stay, but the spine always begins with a root. There is nothing to undo in it. Raises
    Refused for a node that is not ready or is discarded, and for a chain without audio; NodeNotFound; ChainDeleted.
    """
    require_alive(chain)
    if node_id is None:
        kept = {node.id for node in chain.nodes}
    else:
        if not chain.node(node_id).can_be_branched:
            raise Refused(f"node {node_id} is not ready, or is discarded: nothing can begin with it")
        kept = {node.id for node in (*path_to(chain, node_id), *subtree(chain, node_id))}
    nodes = [node for node in chain.nodes if node.id in kept and node.status is NodeStatus.READY]
    if not nodes:
        raise Refused("there is no audio in this chain yet")
    numbers = _numbers(nodes)
    copies = [_copy(node, numbers) for node in nodes]
    if all(copy.parent_id is not None or copy.decision is not Decision.COMMITTED for copy in copies):
        copies[0] = replace(copies[0], decision=Decision.COMMITTED, discarded_in=None)
    return Chain(
        id=chain_id,
        tenant=chain.tenant,
        title=title,
        version=1,
        created_at=now,
        updated_at=now,
        root_id=copies[0].id,
        nodes=tuple(copies),
        sample_rate_hz=chain.sample_rate_hz,
        channels=chain.channels,
        request_sha256=request_sha256,
        history=History(),
    )


def _copy(node: Node, numbers: Mapping[int, int]) -> Node:
    return replace(
        node,
        changed_version=1,
        discarded_in=None if node.discarded_in is None else numbers[node.discarded_in],
        derived=tuple(made for made in node.derived if made.status is NodeStatus.READY),
    )


def _numbers(nodes: Iterable[Node]) -> Mapping[int, int]:
    """The discards of the old chain, as numbers that no version of the new one has: 0 and below."""
    old = sorted({node.discarded_in for node in nodes if node.discarded_in is not None}, reverse=True)
    return {number: -index for index, number in enumerate(old)}
