"""Export a line of nodes as one file: fetch, render, encode, sign, keep under the plan's hash."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from deployments.export.c2pa import FileSigner
from deployments.export.formats import Kind
from deployments.export.licences import is_non_commercial
from deployments.stages.export.audio_file import MadeFile, Tools, write_audio_file
from deployments.stages.export.credentials import sign_file
from deployments.stages.export.order import ExportOrder
from deployments.stages.export.package_file import write_package_file
from deployments.stages.export.sound import Progress, Sounds
from deployments.stages.export.video_file import write_video_file
from deployments.stages.render import Lines
from deployments.stages.watch import watch
from deployments.temporary import temporary_folder
from storage.domain.model import BlobRef
from storage.repositories.blobs import Blobs
from storage.repositories.exports import Export, Exports
from storage.stores.clock import Clock, utc_now


class ExportStage:
    def __init__(
        self,
        blobs: Blobs,
        exports: Exports,
        ffmpeg: Path,
        timeout_s: float,
        clock: Clock = utc_now,
        signer: FileSigner | None = None,
    ) -> None:
        self._blobs = blobs
        self._exports = exports
        self._tools = Tools(ffmpeg, timeout_s)
        self._clock = clock
        self._signer = signer

    async def run(self, tenant: str, order: ExportOrder, on_progress: Progress = lambda done: None) -> Export:
        """Make the file, or find the one that the same plan made before.

        Raises ExportError, MediaError, BlobCorrupt, StoreError, OSError. Cancelling the task kills ffmpeg.
        """
        export_id = order.plan().hash()
        found = await self._exports.find(tenant, export_id)
        if found is not None:
            return found
        with temporary_folder("export") as folder:
            with watch().stage(order.options.form.kind.value):
                made = await self._make(tenant, order, folder, on_progress)
            manifest: Path | None = None
            if order.signed:
                with watch().stage("sign"):
                    manifest = await sign_file(made.path, order, self._signer, self._blobs, tenant, folder)

            async def write(owner: str) -> Export:
                blob = await self._put(tenant, owner, made.path)
                beside = None if manifest is None else await self._put(tenant, owner, manifest)
                return Export(
                    id=export_id,
                    tenant=tenant,
                    created_at=self._clock(),
                    blob=blob,
                    media_type=order.options.form.mime_type,
                    filename=order.filename,
                    samples=made.samples,
                    sample_rate_hz=made.rate_hz,
                    peak_dbfs=made.levels.peak_dbfs,
                    clipped_samples=made.levels.clipped_samples,
                    facts=_facts(order, made, beside),
                    manifest=beside,
                )

            with watch().stage("store"):
                return await self._exports.publish(tenant, export_id, write)

    async def _put(self, tenant: str, owner: str, path: Path) -> BlobRef:
        sha256 = await asyncio.to_thread(_sha256_of, path)
        return await self._blobs.put_file(tenant, owner, path, sha256)

    async def _make(self, tenant: str, order: ExportOrder, folder: Path, on_progress: Progress) -> MadeFile:
        sounds = Sounds(Lines(self._blobs), tenant, order, folder)
        if order.options.form.kind is Kind.PACKAGE:
            return await write_package_file(sounds, order, self._blobs, tenant, folder, on_progress)
        cover = None if order.cover is None else await self._blobs.get(tenant, order.cover)
        write = write_video_file if order.options.form.kind is Kind.VIDEO else write_audio_file
        return await write(sounds, order, self._tools, cover, folder, on_progress)


def _facts(order: ExportOrder, made: MadeFile, manifest: BlobRef | None) -> dict[str, Any]:
    """What else the result shows of a file."""
    facts: dict[str, Any] = {"sample_rate_hz": made.rate_hz, "loudness": made.report}
    if order.licence:
        facts |= {"licence": order.licence, "non_commercial": is_non_commercial(order.licence)}
    if order.signed:
        facts["content_credentials"] = "inside" if manifest is None else "beside"
    return facts


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
