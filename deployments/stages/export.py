"""Export a line of nodes as one file: fetch, render, encode with ffmpeg, keep under the plan's hash."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.audio.resample import resample, to_channels
from deployments.audio.samples import Samples
from deployments.audio.wav import encode_wav
from deployments.export.ffmpeg import run_ffmpeg
from deployments.export.plan import EncodePlan, ExportPiece, ExportPlan, ffmpeg_arguments
from deployments.stages.render import Lines
from storage.domain.model import NodeAudio
from storage.repositories.blobs import Blobs
from storage.repositories.exports import Export, Exports
from storage.stores.clock import Clock, utc_now

RENDERER_VERSION = 1
"""Raised whenever the same line would sound different, so that old files are not given for new ones."""

EXPORT_OWNER = "export"


@dataclass(frozen=True, slots=True)
class FrozenLine:
    """The nodes of one line as they were when the export was asked for."""

    nodes: tuple[NodeAudio, ...]


def plan_export(line: FrozenLine, encode: EncodePlan) -> ExportPlan:
    pieces = tuple(
        ExportPiece(
            sha256=audio.blob.sha256,
            samples=audio.samples,
            sample_rate_hz=audio.sample_rate_hz,
            channels=audio.channels,
            lead_in_sha256=audio.lead_in.sha256 if audio.lead_in else None,
        )
        for audio in line.nodes
    )
    return ExportPlan(pieces, encode, RENDERER_VERSION)


class ExportStage:
    def __init__(
        self,
        blobs: Blobs,
        exports: Exports,
        ffmpeg: Path,
        timeout_s: float,
        clock: Clock = utc_now,
    ) -> None:
        self._blobs = blobs
        self._exports = exports
        self._lines = Lines(blobs)
        self._ffmpeg = ffmpeg
        self._timeout_s = timeout_s
        self._clock = clock

    async def run(self, tenant: str, line: FrozenLine, encode: EncodePlan, filename: str) -> Export:
        """Make the file, or find the one that the same plan made before.

        Raises ExportError, BlobCorrupt, StoreError. Cancelling the task kills ffmpeg.
        """
        export_id = plan_export(line, encode).hash()
        found = await self._exports.find(tenant, export_id)
        if found is not None:
            return found
        with tempfile.TemporaryDirectory(prefix="segue-export-") as folder:
            source, target = Path(folder, "line.wav"), Path(folder, f"file{encode.format.suffix}")
            rendered = await self._lines.render(tenant, line.nodes)
            await asyncio.to_thread(
                _write_line,
                source,
                rendered,
                line.nodes[0].sample_rate_hz,
                encode.sample_rate_hz,
                encode.channels,
            )
            await run_ffmpeg(
                ffmpeg_arguments(encode, source, target), ffmpeg=self._ffmpeg, timeout_s=self._timeout_s
            )
            sha256 = await asyncio.to_thread(_sha256_of, target)
            blob = await self._blobs.put_file(tenant, EXPORT_OWNER, target, sha256)
        return await self._exports.keep(
            Export(
                id=export_id,
                tenant=tenant,
                created_at=self._clock(),
                blob=blob,
                media_type=encode.format.mime_type,
                filename=filename,
                samples=rendered.shape[1],
                sample_rate_hz=line.nodes[0].sample_rate_hz,
            )
        )


def _write_line(path: Path, line: Samples, from_hz: int, to_hz: int, channels: int) -> None:
    path.write_bytes(encode_wav(to_channels(resample(line, from_hz, to_hz), channels), to_hz))


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def frozen_line(spine: Sequence[NodeAudio]) -> FrozenLine:
    """Raises ValueError for a line without audio."""
    if not spine:
        raise ValueError("there is nothing to export yet")
    return FrozenLine(tuple(spine))
