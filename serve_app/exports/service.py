"""Exports of a line: frozen at a version, made once, waited for a while."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from configs.settings import ExportSettings
from deployments.export.formats import Kind
from deployments.export.media_errors import BadPicture, MediaError, WrongOption
from deployments.specs.export import ExportSpec
from deployments.specs.spec import new_job
from deployments.stages.export.order import ExportOrder
from serve_app.exports.covers import cover_of
from serve_app.exports.ordering import documents_of, line_of, order_of, provenance_of
from serve_app.exports.schemas import NewExport
from serve_app.http.problems import FieldError, NotFound, Unprocessable
from serve_app.jobs.admission import Admission
from serve_app.jobs.idempotency import request_hash
from serve_app.jobs.service import JobService
from serve_app.playback.audio import file_stem
from storage.domain.accounts import Amounts
from storage.domain.jobs import Job, JobKind
from storage.domain.model import BlobRef
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from storage.repositories.exports import Export, Exports
from storage.stores.clock import Clock, utc_now

POLL_S = 0.05


class ExportService:
    def __init__(
        self,
        chains: Chains,
        blobs: Blobs,
        exports: Exports,
        jobs: JobService,
        admission: Admission,
        settings: ExportSettings,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._blobs = blobs
        self._exports = exports
        self._jobs = jobs
        self._admission = admission
        self._settings = settings
        self._clock = clock
        self._reading_covers = asyncio.Semaphore(1)

    async def start(self, tenant: str, chain_id: str, wanted: NewExport, key: str | None) -> Job:
        """A job that makes the file, or that made it before: the same line and options are one export.

        Raises ChainNotFound, NodeNotFound, Conflict if there is nothing to export yet, Unprocessable for what the
        format cannot hold, IdempotencyMismatch, TooManyRequests.
        """
        chain = await self._chains.load(tenant, chain_id)
        nodes = line_of(chain, wanted.node_id)
        try:
            order = order_of(chain, nodes, wanted, file_stem(chain.title, chain.id))
            cover = await self._cover(wanted, order)
        except MediaError as error:
            raise _refusal(error) from error
        documents: bytes | None = None
        if order.options.form.kind is Kind.PACKAGE:
            documents = _json(documents_of(chain, nodes))
        elif self._settings.signs:
            documents = _json({"provenance": provenance_of(nodes)})
        order = replace(
            order,
            cover=_named("", cover),
            documents=_named("", documents),
            signed=self._settings.signs,
        )
        request = _request_hash(chain_id, wanted)
        job_id = await self._job_id(tenant, chain_id, request, key, order.plan().hash())
        earlier = await self._admission.find(tenant, job_id)
        if earlier is not None:
            self._admission.push([earlier])
            return earlier
        await self._admission.require_room(tenant, 1)
        order = replace(
            order,
            cover=await self._keep(tenant, job_id, cover),
            documents=await self._keep(tenant, job_id, documents),
        )
        job = new_job(
            ExportSpec(chain_id, order),
            job_id=job_id,
            tenant=tenant,
            request_sha256=request,
            now=self._clock(),
        )
        seconds = sum(node.duration_s for node in nodes)
        stored_bytes = sum(node.audio.blob.size_bytes for node in nodes if node.audio is not None)
        accepted = await self._admission.admit([job], Amounts(1, 0.0, seconds, stored_bytes))
        self._admission.push(accepted)
        return accepted[0]

    async def wait(self, job: Job) -> Job:
        """The job as it is after its end, or after `wait_s`."""
        deadline_s = time.monotonic() + self._settings.wait_s
        while not job.state.is_finished and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S)
            job = await self._jobs.read(job.tenant, job.id)
        return job

    async def read(self, tenant: str, export_id: str) -> Export:
        """Raises NotFound."""
        export = await self._exports.find(tenant, export_id)
        if export is None:
            raise NotFound(f"no export {export_id}")
        return export

    async def _cover(self, wanted: NewExport, order: ExportOrder) -> bytes | None:
        """Raises BadPicture. One at a time: a large picture takes much memory while it is read."""
        if wanted.cover is None:
            return None
        fills_video = order.options.form.kind is Kind.VIDEO
        async with self._reading_covers:
            return await asyncio.to_thread(cover_of, wanted.cover, fills_video=fills_video)

    async def _keep(self, tenant: str, job_id: str, data: bytes | None) -> BlobRef | None:
        """What comes with a request lies beside the job's record until the job has ended."""
        return None if data is None else await self._blobs.put(tenant, f"source-{job_id}", data)

    async def _job_id(
        self, tenant: str, chain_id: str, request_sha256: str, key: str | None, plan_hash: str
    ) -> str:
        async def is_there(job: Job) -> bool:
            """Whether what the job made can still be fetched: the collector takes exports after a while."""
            made = (job.result or {}).get("export_id")
            return made is None or await self._exports.find(tenant, str(made)) is not None

        if key is None:
            return await self._admission.id_of_work(
                tenant, JobKind.EXPORT, chain_id, plan_hash, is_good=is_there
            )
        return await self._admission.id_of_request(
            tenant, f"export/{chain_id}", key, request_sha256, is_good=is_there
        )


def _refusal(error: MediaError) -> Unprocessable:
    field = "body"
    if isinstance(error, WrongOption):
        field = error.field
    elif isinstance(error, BadPicture):
        field = "cover"
    return Unprocessable(error.detail, errors=[FieldError(field, error.detail)])


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _named(owner: str, data: bytes | None) -> BlobRef | None:
    """The reference that `Blobs.put` will return, before anything is stored."""
    if data is None:
        return None
    sha256 = hashlib.sha256(data).hexdigest()
    return BlobRef(f"{owner}-{sha256}", sha256, len(data))


def _request_hash(chain_id: str, wanted: NewExport) -> str:
    return request_hash({"chain": chain_id, **wanted.model_dump(mode="json", exclude_defaults=True)})
