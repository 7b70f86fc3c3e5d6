"""An uploaded track taken through the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from deployments.engines.separation.options import SeparationOptions
from deployments.stages.pipeline.encode import AS_WORKED_ON, Delivery, EncodeStage
from deployments.stages.pipeline.normalisation import Normalisation
from deployments.stages.pipeline.separation import options_from_record, options_to_record
from storage.domain.jobs import Job, JobKind, StageState
from storage.domain.model import Track
from storage.domain.records import track_from_record, track_to_record


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """What is to be made of a track. `normalisation` None: no normalised copies."""

    model: str
    separation: SeparationOptions
    harmonic_percussive: bool = True
    composite: bool = True
    normalisation: Normalisation | None = None
    delivery: Delivery = AS_WORKED_ON

    def to_record(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "separation": options_to_record(self.separation),
            "harmonic_percussive": self.harmonic_percussive,
            "composite": self.composite,
            "normalisation": None if self.normalisation is None else self.normalisation.to_record(),
            "delivery": {"format": self.delivery.format, "bit_depth": self.delivery.bit_depth},
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> PipelinePlan:
        normalisation = record["normalisation"]
        delivery = record["delivery"]
        return PipelinePlan(
            model=record["model"],
            separation=options_from_record(record["separation"]),
            harmonic_percussive=record["harmonic_percussive"],
            composite=record["composite"],
            normalisation=None if normalisation is None else Normalisation.from_record(normalisation),
            delivery=Delivery(delivery["format"], delivery["bit_depth"]),
        )


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """`source` is the upload as a float32 WAV, `filename` its name as it came."""

    kind: ClassVar[JobKind] = JobKind.PROCESS

    source: Track
    filename: str
    plan: PipelinePlan

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.source.blob.name,)

    def to_record(self) -> dict[str, Any]:
        return {
            "source": track_to_record(self.source),
            "filename": self.filename,
            "plan": self.plan.to_record(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        plan = PipelinePlan.from_record(record["plan"])
        return cls(track_from_record(record["source"]), record["filename"], plan)


def delivered(job: Job) -> tuple[Track, ...]:
    """The tracks that a process job gives out: encoded ones where that was asked for and could be done."""
    made = {record.name: record for record in job.stages if record.state is StageState.SUCCEEDED}
    if EncodeStage.name in made:
        return made[EncodeStage.name].tracks
    return tuple(track for record in made.values() for track in record.tracks)
