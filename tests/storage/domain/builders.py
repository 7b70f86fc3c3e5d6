"""Short ways to make chains, nodes and audio for tests, and to say what changed between two chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.domain import crops, decisions, edits
from storage.domain.events import Changes
from storage.domain.jobs import Job, JobKind
from storage.domain.model import (
    BlobRef,
    Chain,
    Decision,
    Derived,
    DerivedKind,
    Node,
    NodeAudio,
    NodeStatus,
    Origin,
    Track,
)

START = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
NOW = START + timedelta(seconds=1)
PROVENANCE: Mapping[str, Any] = {"engine": "mock", "seed": 7}


def blob(name: str, size_bytes: int = 128) -> BlobRef:
    return BlobRef(name=name, sha256=f"{sum(name.encode()):064x}", size_bytes=size_bytes)


def audio(samples: int = 64_000, sample_rate_hz: int = 32_000, channels: int = 1) -> NodeAudio:
    return NodeAudio(
        lead_in=blob("lead-in") if samples % 2 == 0 else None,
        blob=blob(f"audio-{samples}"),
        samples=samples,
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        rms_dbfs=-18.5,
        peak_dbfs=-1.0,
    )


def pending(node_id: str, parent_id: str | None) -> Node:
    return Node(
        id=node_id,
        parent_id=parent_id,
        origin=Origin.GENERATION,
        created_at=START,
        duration_s=8.0,
        prompt="strings",
        params={"top_k": 250},
        seed=1,
        job_id=f"job-{node_id}",
    )


def uploaded_root(node_id: str = "root") -> Node:
    return Node(
        id=node_id,
        parent_id=None,
        origin=Origin.UPLOAD,
        created_at=START,
        status=NodeStatus.READY,
        duration_s=2.0,
        audio=audio(),
        provenance={"file": "clip.wav"},
    )


def chain_of(root: Node | None = None) -> Chain:
    """A chain of a root alone, an uploaded one unless told."""
    return edits.new_chain(chain_id="c", tenant="t", title="Sketch", root=root or uploaded_root(), now=START)


def make_ready(chain: Chain, node_id: str) -> Chain:
    """Let a node's job run to its good end under the next claim."""
    fence = chain.node(node_id).fence + 1
    chain = edits.start(chain, node_id, fence, NOW)
    return edits.publish(chain, node_id, fence, audio(), PROVENANCE, NOW)


def part_of(source: Node, node_id: str, first_sample: int, samples: int) -> Node:
    """A crop of a node, in no chain yet."""
    return crops.cropped(
        node_id, source, first_sample, samples, sha256="cd" * 32, rms_dbfs=-20.0, peak_dbfs=-2.0, now=NOW
    )


def grow(chain: Chain, **parents: str) -> Chain:
    """Add ready nodes, `node="parent"`, in the order given."""
    for node_id, parent_id in parents.items():
        chain = make_ready(edits.add_nodes(chain, [pending(node_id, parent_id)], NOW), node_id)
    return chain


def commit_all(chain: Chain, *node_ids: str) -> Chain:
    for node_id in node_ids:
        chain = decisions.commit(chain, node_id, NOW)
    return chain


def decisions_of(chain: Chain) -> dict[str, Decision]:
    return {node.id: node.decision for node in chain.nodes}


def ids_by(chain: Chain, decision: Decision) -> set[str]:
    return {node.id for node in chain.nodes if node.decision is decision}


def without_stamps(chain: Chain) -> Chain:
    """A chain as a musician sees it: equal if nothing but versions and times differ."""
    nodes = tuple(replace(node, changed_version=0) for node in chain.nodes)
    return replace(chain, version=0, updated_at=START, nodes=nodes)


def apply_changes(held: tuple[Node, ...], changes: Changes) -> tuple[Node, ...]:
    """What a client holds after it has taken `changes`: nodes are upserts."""
    by_id = {} if changes.snapshot else {node.id: node for node in held}
    by_id.update({node.id: node for node in changes.nodes})
    return tuple(by_id.values())


def stems(job_id: str) -> Derived:
    return Derived(job_id=job_id, kind=DerivedKind.STEMS, created_at=START, params={"model": "tiny"})


def track(name: str, **facts: Any) -> Track:
    return Track(name, blob(name), "wav", 8, 32_000, 1, -20.0, -6.0, facts)


def queued_job(job_id: str = "job", **fields: Any) -> Job:
    return Job(
        **{
            "id": job_id,
            "kind": JobKind.GENERATE,
            "tenant": "t",
            "created_at": START,
            "updated_at": START,
            "request_sha256": "ab" * 32,
            "params": {"chain_id": "c", "node_id": "n"},
            **fields,
        }
    )
