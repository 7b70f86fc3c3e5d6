"""A file made of a line of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from deployments.export.plan import AudioFormat, EncodePlan, Metadata
from deployments.stages.export import FrozenLine
from storage.domain.jobs import JobKind
from storage.domain.records import audio_from_record, audio_to_record


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """`line` is frozen when the export is accepted: later commits change nothing."""

    kind: ClassVar[JobKind] = JobKind.EXPORT

    chain_id: str
    line: FrozenLine
    encode: EncodePlan
    filename: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(sorted({name for audio in self.line.nodes for name in audio.blob_names}))

    def to_record(self) -> dict[str, Any]:
        return {
            "chain_id": self.chain_id,
            "line": [audio_to_record(audio) for audio in self.line.nodes],
            "encode": asdict(self.encode),
            "filename": self.filename,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        encode = record["encode"]
        return cls(
            chain_id=record["chain_id"],
            line=FrozenLine(tuple(audio_from_record(audio) for audio in record["line"])),
            encode=EncodePlan(
                **{
                    **encode,
                    "format": AudioFormat(encode["format"]),
                    "metadata": Metadata(**encode["metadata"]),
                }
            ),
            filename=record["filename"],
        )
