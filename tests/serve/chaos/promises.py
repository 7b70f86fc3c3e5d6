"""What users were told, to be held against what the store says in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class Request:
    """One POST for takes under one key, however often it was sent. `answers` are (node ids, job ids)."""

    key: str
    prompt: str
    """Another for each request: in the store it tells whose a node is."""
    takes: int
    times_sent: int = 0
    answers: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    refusal: int | None = None
    """The status of an answer that asking again would not better."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A chain as an answer showed it."""

    chain_id: str
    version: int
    spine: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a page that listened to a chain's events had before it in the end."""

    chain_id: str
    version: int
    nodes: Mapping[str, tuple[str, str, str | None]]
    """Each node's status, decision, and hash of its audio."""


@dataclass
class Promises:
    requests: list[Request] = field(default_factory=list)
    uploads: set[str] = field(default_factory=set)
    """Chains."""
    exports: set[str] = field(default_factory=set)
    """Jobs of accepted exports."""
    cancelled: set[str] = field(default_factory=set)
    """Jobs that were said to be cancelled."""
    discarded: set[str] = field(default_factory=set)
    """Nodes that were said to be discarded."""
    shown: list[Shown] = field(default_factory=list)
    heard: dict[str, set[str]] = field(default_factory=dict)
    """Hashes of all audio that a node was ever said to have, or that came when it was downloaded."""
    sights: list[Sight] = field(default_factory=list)

    def hear(self, node_id: str, sha256: str) -> None:
        self.heard.setdefault(node_id, set()).add(sha256)

    @property
    def accepted_jobs(self) -> set[str]:
        """All whose request was answered with 202."""
        told = {job_id for request in self.requests for _, job_ids in request.answers for job_id in job_ids}
        return told | self.exports


def merged(each: Iterable[Promises]) -> Promises:
    everything = Promises()
    for promises in each:
        everything.requests += promises.requests
        everything.uploads |= promises.uploads
        everything.exports |= promises.exports
        everything.cancelled |= promises.cancelled
        everything.discarded |= promises.discarded
        everything.shown += promises.shown
        everything.sights += promises.sights
        for node_id, hashes in promises.heard.items():
            for sha256 in hashes:
                everything.hear(node_id, sha256)
    return everything
