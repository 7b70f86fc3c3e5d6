"""What is derived from a node: its stems, an analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from deployments.engines.separation.options import SeparationOptions
from deployments.specs.spec import JobSpec
from deployments.stages.pipeline.separation import options_from_record, options_to_record
from storage.domain import derivations
from storage.domain.jobs import Job, JobKind
from storage.domain.model import Chain, Derived, DerivedKind
from storage.repositories.chains import Chains


class DerivationSpec(JobSpec, Protocol):
    """`derived_kind` is what the chain calls the result."""

    derived_kind: ClassVar[DerivedKind]

    @property
    def chain_id(self) -> str: ...

    @property
    def node_id(self) -> str: ...

    @property
    def shown(self) -> dict[str, Any]:
        """The parameters that the chain shows beside the result."""
        ...


@dataclass(frozen=True, slots=True)
class StemsSpec:
    """`model` names the separation model."""

    kind: ClassVar[JobKind] = JobKind.STEMS
    derived_kind: ClassVar[DerivedKind] = DerivedKind.STEMS

    chain_id: str
    node_id: str
    model: str
    options: SeparationOptions

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    @property
    def shown(self) -> dict[str, Any]:
        return {"model": self.model, **options_to_record(self.options)}

    def to_record(self) -> dict[str, Any]:
        return {
            "chain_id": self.chain_id,
            "node_id": self.node_id,
            "model": self.model,
            "options": options_to_record(self.options),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        options = options_from_record(record["options"])
        return cls(record["chain_id"], record["node_id"], record["model"], options)


@dataclass(frozen=True, slots=True)
class AnalysisSpec:
    """`melody`: the notes of the leading voice, too."""

    kind: ClassVar[JobKind] = JobKind.ANALYSIS
    derived_kind: ClassVar[DerivedKind] = DerivedKind.ANALYSIS

    chain_id: str
    node_id: str
    melody: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    @property
    def shown(self) -> dict[str, Any]:
        return {"melody": self.melody}

    def to_record(self) -> dict[str, Any]:
        return {"chain_id": self.chain_id, "node_id": self.node_id, "melody": self.melody}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(record["chain_id"], record["node_id"], record["melody"])


DERIVATIONS: Mapping[JobKind, type[DerivationSpec]] = {spec.kind: spec for spec in (StemsSpec, AnalysisSpec)}


def pending(job: Job) -> Derived:
    """What the job derives, as the chain has it before it is made."""
    spec = DERIVATIONS[job.kind].from_record(job.params)
    return Derived(job_id=job.id, kind=spec.derived_kind, created_at=job.created_at, params=spec.shown)


async def ensure_derivation(chains: Chains, job: Job) -> Chain:
    """Bring what a job derives into its chain, pending. Idempotent: the ingress does it when it accepts a job, the
    runner again. Raises Refused, NodeNotFound, ChainDeleted, ChainNotFound."""
    derived = pending(job)
    return await chains.change(
        job.tenant,
        str(job.chain_id),
        lambda chain, now: derivations.add(chain, str(job.node_id), derived, now),
    )
