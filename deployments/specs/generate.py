"""A take: one node made by MusicGen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from storage.domain import crops, edits
from storage.domain.jobs import Job, JobKind
from storage.domain.model import Chain, Node
from storage.domain.records import node_from_record, node_to_record
from storage.repositories.chains import Chains


@dataclass(frozen=True, slots=True)
class GenerateSpec:
    """`node` is the pending node; `title` is the chain's, for a root that makes it; `crop` is the node's parent,
    where the same request makes that."""

    kind: ClassVar[JobKind] = JobKind.GENERATE

    chain_id: str
    node: Node
    title: str | None = None
    crop: Node | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    def to_record(self) -> dict[str, Any]:
        return {
            "chain_id": self.chain_id,
            "node_id": self.node.id,
            "node": node_to_record(self.node),
            **({} if self.title is None else {"title": self.title}),
            **({} if self.crop is None else {"crop": node_to_record(self.crop)}),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        crop = record.get("crop")
        return cls(
            record["chain_id"],
            node_from_record(record["node"]),
            record.get("title"),
            node_from_record(crop) if crop is not None else None,
        )


async def ensure_node(chains: Chains, job: Job) -> Chain:
    """Bring a generate job's node into its chain, and make the chain if the node is its root.

    Idempotent: the ingress does it when it accepts a job, the runner again. Raises Refused, ChainDeleted,
    ChainNotFound.
    """
    spec = GenerateSpec.from_record(job.params)
    node = spec.node
    if node.parent_id is None:
        chain, _ = await chains.create(
            edits.new_chain(
                chain_id=spec.chain_id,
                tenant=job.tenant,
                title=str(spec.title),
                root=node,
                now=node.created_at,
                request_sha256=job.request_sha256,
            )
        )
        return chain
    return await chains.change(
        job.tenant, spec.chain_id, lambda chain, now: with_takes(chain, [node], spec.crop, now)
    )


def with_takes(chain: Chain, nodes: Sequence[Node], crop: Node | None, now: datetime) -> Chain:
    """With the takes of one request, and the crop that they continue from, where the request made one.

    Idempotent. Raises Refused, NodeNotFound, ChainDeleted.
    """
    if crop is not None and any(chain.find(node.id) is None for node in nodes):
        chain = crops.add_crop(chain, crop, now)
    return edits.add_nodes(chain, nodes, now)
