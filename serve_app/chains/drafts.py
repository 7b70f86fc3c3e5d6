"""The records of takes that are asked for, as they are before anything is written."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from deployments.audio.seam.joining import Joining
from deployments.engines.music.protocol import GenerationMode
from deployments.specs.generate import GenerateSpec
from deployments.specs.spec import new_job
from storage.domain.ids import derived_id
from storage.domain.jobs import Job
from storage.domain.model import Node, Origin
from storage.domain.seeds import SEED_COUNT, seed_of_take


@dataclass(frozen=True, slots=True)
class BranchRequest:
    """Takes of one continuation, as a client asks for them. `seed` None: one is drawn and recorded. `wishes` are
    what else is asked for (`deployments.stages.prompting.WISHES`); `joining` is None for a root."""

    prompt: str
    duration_s: float
    mode: GenerationMode
    prompt_duration_s: float
    cfg_coef: float
    temperature: float
    top_k: int
    top_p: float
    seed: int | None = None
    takes: int = 1
    model: str | None = None
    wishes: Mapping[str, Any] = field(default_factory=dict)
    joining: Joining | None = None

    def body(self) -> dict[str, Any]:
        """What makes two requests the same request."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Draft:
    """What the takes of one request have in common. `seed` is take 0's; `title` the chain's, for a root; `crop` the
    parent, where the request makes that."""

    wanted: BranchRequest
    tenant: str
    chain_id: str
    parent_id: str | None
    model: str
    seed: int
    request_sha256: str
    created_at: datetime
    title: str | None = None
    crop: Node | None = None

    def job(self, job_id: str, node_id: str, take: int = 0) -> Job:
        """The job of one take; its parameters hold the pending node."""
        return new_job(
            GenerateSpec(self.chain_id, self._node(job_id, node_id, take), self.title, self.crop),
            job_id=job_id,
            tenant=self.tenant,
            request_sha256=self.request_sha256,
            now=self.created_at,
        )

    def _node(self, job_id: str, node_id: str, take: int) -> Node:
        wanted = self.wanted
        return Node(
            id=node_id,
            parent_id=self.parent_id,
            origin=Origin.GENERATION,
            created_at=self.created_at,
            duration_s=wanted.duration_s,
            prompt=wanted.prompt,
            params={
                "mode": wanted.mode.value,
                "prompt_duration_s": wanted.prompt_duration_s,
                "cfg_coef": wanted.cfg_coef,
                "temperature": wanted.temperature,
                "top_k": wanted.top_k,
                "top_p": wanted.top_p,
                "model": self.model,
                **wanted.wishes,
                **({} if wanted.joining is None else wanted.joining.to_params()),
            },
            seed=seed_of_take(self.seed, take),
            take=take,
            job_id=job_id,
        )


def drafted_node(job: Job) -> Node:
    """The node of a drafted job, as its parameters hold it."""
    return GenerateSpec.from_record(job.params).node


def first_seed(asked: int | None, key_id: str | None) -> int:
    """The seed asked for; else one drawn, or, for a request with a key, derived, so that a repetition of a
    request that was half accepted goes on with the same one."""
    if asked is not None:
        return asked
    return int(derived_id(key_id, "seed")[:8], 16) if key_id is not None else secrets.randbelow(SEED_COUNT)
