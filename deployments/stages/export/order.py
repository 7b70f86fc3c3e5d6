"""All that an export job needs, frozen when it was asked for, so that later changes of the chain change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from deployments.export.plan import ExportOptions, ExportPiece, ExportPlan
from storage.domain.model import BlobRef, NodeAudio, Track
from storage.domain.records import (
    audio_from_record,
    audio_to_record,
    blob_from_record,
    blob_to_record,
    track_from_record,
    track_to_record,
)

RENDERER_VERSION = 4
"""Raised whenever a file of the same line would be different, so that old files are not given for new ones."""


@dataclass(frozen=True, slots=True)
class LineNode:
    """One node of the line: its sound, its stems where they get into the file, and its analysis, where a tempo map
    is made of it. `name` is what its clip and its marker are called."""

    audio: NodeAudio
    name: str = ""
    stems: tuple[Track, ...] = ()
    analysis: BlobRef | None = None


@dataclass(frozen=True, slots=True)
class OtherTake:
    """A take beside the line, which begins with sample `at` of it."""

    audio: NodeAudio
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """`cover` is a JPEG; `documents` JSON, `{"chain": …, "provenance": …}`. `licence` is the whole line's. A
    `signed` one gets content credentials, of the provenance in `documents`.

    Raises ValueError for a line without audio.
    """

    nodes: tuple[LineNode, ...]
    options: ExportOptions
    filename: str
    licence: str = ""
    cover: BlobRef | None = None
    documents: BlobRef | None = None
    takes: tuple[OtherTake, ...] = ()
    signed: bool = False

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("there is nothing to export yet")

    @property
    def rate_hz(self) -> int:
        """The line's own."""
        return self.nodes[0].audio.sample_rate_hz

    @property
    def channels(self) -> int:
        return self.nodes[0].audio.channels

    @property
    def starts(self) -> list[int]:
        """Where each node begins, and the end of the last: samples of the line."""
        return starts_of([node.audio for node in self.nodes])

    @property
    def region(self) -> tuple[int, int]:
        """The samples of the line that get into the file, from … up to."""
        end = self.options.end
        return self.options.start, self.starts[-1] if end is None else end

    @property
    def sounding(self) -> list[bool]:
        """Of each node whether any of it lies in the region."""
        (start, end), starts = self.region, self.starts
        return [at < end and until > start for at, until in pairwise(starts)]

    @property
    def blob_names(self) -> tuple[str, ...]:
        """Of all that is read to make the file."""
        audio = [node.audio for node in self.nodes] + [take.audio for take in self.takes]
        names = {name for each in audio for name in each.blob_names}
        names |= {stem.blob.name for node in self.nodes for stem in node.stems}
        others = (self.cover, self.documents, *(node.analysis for node in self.nodes))
        return tuple(sorted(names | {blob.name for blob in others if blob is not None}))

    def plan(self) -> ExportPlan:
        pieces = tuple(
            ExportPiece(
                sha256=node.audio.sha256,
                samples=node.audio.samples,
                sample_rate_hz=node.audio.sample_rate_hz,
                channels=node.audio.channels,
                lead_in_sha256=node.audio.lead_in.sha256 if node.audio.lead_in else None,
                stems=tuple((stem.name, stem.blob.sha256) for stem in node.stems),
            )
            for node in self.nodes
        )
        more = [blob.sha256 for blob in (self.cover, self.documents) if blob is not None]
        more += [node.analysis.sha256 for node in self.nodes if node.analysis is not None]
        for take in self.takes:
            more += [take.audio.sha256, str(take.at), take.name]
        more += [node.name for node in self.nodes]
        if self.signed:  # the signature itself differs from run to run, and is no part of the plan
            more.append("c2pa")
        return ExportPlan(pieces, self.options, RENDERER_VERSION, tuple(more))

    def to_record(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "line": [audio_to_record(node.audio) for node in self.nodes],
            "names": [node.name for node in self.nodes],
            "stems": [[track_to_record(stem) for stem in node.stems] for node in self.nodes],
            "analyses": [_optional(node.analysis) for node in self.nodes],
            "options": self.options.to_record(),
            "filename": self.filename,
            "licence": self.licence,
            "cover": _optional(self.cover),
            "documents": _optional(self.documents),
            "takes": [
                {"audio": audio_to_record(take.audio), "name": take.name, "at": take.at}
                for take in self.takes
            ],
            "signed": self.signed,
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> ExportOrder:
        return ExportOrder(
            nodes=tuple(
                LineNode(
                    audio_from_record(audio), str(name), tuple(map(track_from_record, stems)), _blob(analysis)
                )
                for audio, name, stems, analysis in zip(
                    record["line"], record["names"], record["stems"], record["analyses"], strict=True
                )
            ),
            options=ExportOptions.from_record(record["options"]),
            filename=str(record["filename"]),
            licence=str(record["licence"]),
            cover=_blob(record["cover"]),
            documents=_blob(record["documents"]),
            takes=tuple(
                OtherTake(audio_from_record(take["audio"]), str(take["name"]), int(take["at"]))
                for take in record["takes"]
            ),
            signed=bool(record.get("signed", False)),
        )


def starts_of(line: Sequence[NodeAudio]) -> list[int]:
    """Where each node begins and the last ends, in samples of the line, whose rate is its first node's."""
    rate_hz, starts = line[0].sample_rate_hz, [0]
    for audio in line:
        starts.append(starts[-1] + round(audio.samples * rate_hz / audio.sample_rate_hz))
    return starts


def plain_order(line: Sequence[NodeAudio], options: ExportOptions, filename: str) -> ExportOrder:
    """Of audio alone, without names, stems or documents. Raises ValueError for a line without audio."""
    return ExportOrder(tuple(LineNode(audio) for audio in line), options, filename)


def _optional(blob: BlobRef | None) -> dict[str, Any] | None:
    return None if blob is None else blob_to_record(blob)


def _blob(record: Mapping[str, Any] | None) -> BlobRef | None:
    return None if record is None else blob_from_record(record)
