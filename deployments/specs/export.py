"""A file made of a line of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from deployments.stages.export.order import ExportOrder
from storage.domain.jobs import JobKind


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """`order` is frozen when the export is accepted: later commits change nothing."""

    kind: ClassVar[JobKind] = JobKind.EXPORT

    chain_id: str
    order: ExportOrder

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.order.blob_names

    def to_record(self) -> dict[str, Any]:
        return {"chain_id": self.chain_id, **self.order.to_record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(record["chain_id"], ExportOrder.from_record(record))
