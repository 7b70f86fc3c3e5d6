"""Exports of the spine: frozen at a version, made once, waited for a while."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from configs.settings import ExportSettings
from deployments.export.plan import AudioFormat, EncodePlan, Metadata
from deployments.specs.export import ExportSpec
from deployments.specs.spec import new_job
from deployments.stages.export import FrozenLine, frozen_line, plan_export
from serve_app.http.problems import Conflict, NotFound
from serve_app.jobs.admission import Admission
from serve_app.jobs.idempotency import request_hash
from serve_app.jobs.service import JobService
from serve_app.playback.audio import file_stem
from storage.domain.jobs import Job, JobKind
from storage.domain.model import Chain
from storage.domain.tree import spine
from storage.repositories.chains import Chains
from storage.repositories.exports import Export, Exports
from storage.stores.clock import Clock, utc_now

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """`bit_depth` and `sample_rate_hz` None: the format's default, the chain's rate."""

    format: AudioFormat
    bit_depth: int | None = None
    sample_rate_hz: int | None = None


class ExportService:
    def __init__(
        self,
        chains: Chains,
        exports: Exports,
        jobs: JobService,
        admission: Admission,
        settings: ExportSettings,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._exports = exports
        self._jobs = jobs
        self._admission = admission
        self._settings = settings
        self._clock = clock

    async def start(self, tenant: str, chain_id: str, wanted: ExportRequest, key: str | None) -> Job:
        """A job that makes the file, or that made it before: the same spine and options are one export.

        Raises ChainNotFound, Conflict if there is nothing to export yet, ValueError for options that the
        format cannot hold, IdempotencyMismatch, TooManyRequests.
        """
        chain = await self._chains.load(tenant, chain_id)
        line = _line_of(chain)
        encode = _encode_plan(chain, line, wanted)
        job_id = await self._job_id(tenant, chain_id, wanted, key, plan_export(line, encode).hash())
        earlier = await self._admission.find(tenant, job_id)
        if earlier is not None:
            self._admission.push([earlier])
            return earlier
        await self._admission.require_room(tenant, 1)
        filename = f"{file_stem(chain.title, chain.id)}{wanted.format.suffix}"
        job = new_job(
            ExportSpec(chain_id, line, encode, filename),
            job_id=job_id,
            tenant=tenant,
            request_sha256=_request_hash(chain_id, wanted),
            now=self._clock(),
        )
        accepted = await self._admission.admit([job])
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

    async def _job_id(
        self, tenant: str, chain_id: str, wanted: ExportRequest, key: str | None, plan_hash: str
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
            tenant, f"export/{chain_id}", key, _request_hash(chain_id, wanted), is_good=is_there
        )


def _line_of(chain: Chain) -> FrozenLine:
    try:
        return frozen_line([node.audio for node in spine(chain) if node.audio is not None])
    except ValueError as error:
        raise Conflict(str(error)) from error


def _encode_plan(chain: Chain, line: FrozenLine, wanted: ExportRequest) -> EncodePlan:
    licences = {
        str(node.provenance["licence"])
        for node in spine(chain)
        if node.provenance is not None and "licence" in node.provenance
    }
    comment = (
        f"Made with Segue; licence of the model weights: {', '.join(sorted(licences))}" if licences else ""
    )
    return EncodePlan(
        format=wanted.format,
        sample_rate_hz=wanted.sample_rate_hz or line.nodes[0].sample_rate_hz,
        channels=line.nodes[0].channels,
        bit_depth=wanted.bit_depth,
        metadata=Metadata(title=chain.title, comment=comment),
    )


def _request_hash(chain_id: str, wanted: ExportRequest) -> str:
    return request_hash(
        {
            "chain": chain_id,
            "format": wanted.format.value,
            "bit_depth": wanted.bit_depth,
            "sample_rate_hz": wanted.sample_rate_hz,
        }
    )
