"""Export a line of nodes as one file: fetch, render, encode with ffmpeg, keep under the plan's hash."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.audio.resample import StreamingResampler, to_channels
from deployments.audio.samples import Samples
from deployments.export.ffmpeg import run_ffmpeg
from deployments.export.plan import EncodePlan, ExportPiece, ExportPlan, ffmpeg_arguments
from deployments.export.source import SourceLevels, SourceWriter
from deployments.stages.render import Lines
from deployments.temporary import temporary_folder
from storage.domain.model import NodeAudio
from storage.repositories.blobs import Blobs
from storage.repositories.exports import Export, Exports
from storage.stores.clock import Clock, utc_now

RENDERER_VERSION = 2
"""Raised whenever the same line would sound different, so that old files are not given for new ones."""

EXPORT_OWNER = "export"


@dataclass(frozen=True, slots=True)
class FrozenLine:
    """The nodes of one line as they were when the export was asked for."""

    nodes: tuple[NodeAudio, ...]


def plan_export(line: FrozenLine, encode: EncodePlan) -> ExportPlan:
    pieces = tuple(
        ExportPiece(
            sha256=audio.sha256,
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
        with temporary_folder("export") as folder:
            source, target = folder / "line.pcm", folder / f"file{encode.format.suffix}"
            levels, samples = await self._write_source(tenant, line, encode, source)
            await run_ffmpeg(
                ffmpeg_arguments(encode, source, target), ffmpeg=self._ffmpeg, timeout_s=self._timeout_s
            )
            await asyncio.to_thread(source.unlink)
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
                samples=samples,
                sample_rate_hz=line.nodes[0].sample_rate_hz,
                peak_dbfs=levels.peak_dbfs,
                clipped_samples=levels.clipped_samples,
            )
        )

    async def _write_source(
        self, tenant: str, line: FrozenLine, encode: EncodePlan, source: Path
    ) -> tuple[SourceLevels, int]:
        """The rendered line as ffmpeg's source; its levels, and its length at the line's own rate."""
        first, samples = line.nodes[0], 0
        resampler = StreamingResampler(first.sample_rate_hz, encode.sample_rate_hz, first.channels)
        with SourceWriter(source, encode) as writer:

            def append(block: Samples) -> None:
                writer.append(to_channels(resampler.push(block), encode.channels))

            async for block in self._lines.blocks(tenant, line.nodes, source.parent):
                samples += block.shape[1]
                await asyncio.to_thread(append, block)
            await asyncio.to_thread(lambda: writer.append(to_channels(resampler.finish(), encode.channels)))
            return await asyncio.to_thread(writer.close), samples


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def frozen_line(spine: Sequence[NodeAudio]) -> FrozenLine:
    """Raises ValueError for a line without audio."""
    if not spine:
        raise ValueError("there is nothing to export yet")
    return FrozenLine(tuple(spine))
