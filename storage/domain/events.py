"""Events are differences between versions of a chain.

A client that knows version V and applies every event after it holds the chain as it is: nodes come whole, as
upserts. Only the last event of a change names the version, so a client that resumes never skips half of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.domain.model import Chain, Node


@dataclass(frozen=True, slots=True)
class Changes:
    """What a client at `since` needs to hold the chain at `version`.

    `snapshot` means that the client must take the whole chain: its version is unknown, from the future, or
    or from before this chain, or a node or the chain was taken away since.
    """

    version: int
    snapshot: bool
    nodes: tuple[Node, ...]


def changes_since(chain: Chain, since: int | None) -> Changes:
    """The difference between version `since` and `chain`; a snapshot where there is no telling."""
    deleted = chain.deleted_at is not None and since != chain.version
    if since is None or not 1 <= since <= chain.version or deleted or since < chain.removed_version:
        return Changes(version=chain.version, snapshot=True, nodes=chain.nodes)
    changed = tuple(node for node in chain.nodes if node.changed_version > since)
    return Changes(version=chain.version, snapshot=False, nodes=changed)
