"""The processing pipeline: a track comes in, a job takes it apart, its outputs are kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from configs.settings import ProcessSettings, UploadLimits
from deployments.audio.decode.isolated import DecodeLimits, decode_file
from deployments.audio.normalise import NormaliseMode
from deployments.engines.separation.options import SeparationOptions
from deployments.specs.process import PipelinePlan, ProcessSpec, delivered
from deployments.specs.spec import new_job
from deployments.stages.pipeline.encode import Delivery
from deployments.stages.pipeline.normalisation import Normalisation
from deployments.stages.pipeline.separation import disk_bytes
from deployments.temporary import temporary_folder
from serve_app.access.audit import audited
from serve_app.access.quotas import Quotas
from serve_app.http.multipart import ReceivedUpload
from serve_app.http.problems import Conflict, Gone, NotFound, PayloadTooLarge
from serve_app.jobs.admission import Admission
from serve_app.jobs.idempotency import request_hash
from serve_app.jobs.service import JobService
from serve_app.system.separators import ServedSeparators
from storage.domain.accounts import Amounts
from storage.domain.ids import derived_id
from storage.domain.jobs import Job, JobKind, JobNotFound
from storage.domain.model import Track
from storage.repositories.blobs import Blobs
from storage.stores.clock import Clock, utc_now

SOURCE = "mix"
MOST_SOURCES = 6
"""Of any separator."""
TRACKS_OF_A_MIX = 20
"""About how many tracks as large as the mix the pipeline stores, normalised copies among them."""
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ProcessRequest:
    """A pipeline as a client asks for it; None: as the server is set."""

    model: str | None
    options: SeparationOptions
    harmonic_percussive: bool
    composite: bool
    normalize: Literal["off", "peak", "lufs"] | None
    target_db: float | None
    delivery: Delivery


class ProcessService:
    """Decodes at most `settings.concurrent_uploads` tracks at once."""

    def __init__(
        self,
        jobs: JobService,
        admission: Admission,
        blobs: Blobs,
        separators: ServedSeparators,
        quotas: Quotas,
        settings: ProcessSettings,
        uploads: UploadLimits,
        clock: Clock = utc_now,
    ) -> None:
        self._jobs = jobs
        self._admission = admission
        self._blobs = blobs
        self._separators = separators
        self.quotas = quotas
        self._settings = settings
        self._limits = DecodeLimits.of(
            uploads,
            max_duration_s=settings.max_duration_s,
            max_output_bytes=settings.max_decoded_bytes,
            timeout_s=settings.decode_timeout_s,
        )
        self._kept_for = timedelta(seconds=settings.outputs_s)
        self._clock = clock
        self._decoding = asyncio.Semaphore(settings.concurrent_uploads)

    def plan(self, wanted: ProcessRequest) -> PipelinePlan:
        """The request with the server's own choices where it makes none. Raises Unprocessable."""
        mode = wanted.normalize or self._settings.normalize
        target_db = self._settings.target_db if wanted.target_db is None else wanted.target_db
        return PipelinePlan(
            model=self._separators.choose(wanted.model, wanted.options).name,
            separation=wanted.options,
            harmonic_percussive=wanted.harmonic_percussive,
            composite=wanted.composite,
            normalisation=None
            if mode == "off"
            else Normalisation(NormaliseMode(mode), target_db, self._settings.ceiling_dbtp),
            delivery=wanted.delivery,
        )

    async def require_room(self, tenant: str, key: str | None) -> None:
        """A look before the body is read. A repetition of an earlier request needs no room: whether it is one shows
        when its body is here, so a request with a known key passes. Raises TooManyRequests."""
        if key is not None:
            first = derived_id(tenant, "process", key, "0")
            if await self._admission.find(tenant, first) is not None:
                return
        await self._admission.require_room(tenant, 1)

    async def start(self, tenant: str, received: ReceivedUpload, plan: PipelinePlan, key: str | None) -> Job:
        """A job that processes the track. It is decoded first, in a limited subprocess, and kept until the job's
        end.

        Raises UnsupportedMedia and BadAudio for what is no such track, IdempotencyMismatch, TooManyRequests.
        """
        audited(sha256=received.sha256)
        request_sha256 = request_hash({"file": received.sha256, "plan": plan.to_record()})
        job_id = await self._admission.id_of_request(tenant, "process", key, request_sha256)
        earlier = await self._admission.find(tenant, job_id)
        if earlier is not None:
            self._admission.push([earlier])
            return earlier
        await self._admission.require_room(tenant, 1)
        source = await self._keep(tenant, job_id, received)
        job = new_job(
            ProcessSpec(source, received.filename, plan),
            job_id=job_id,
            tenant=tenant,
            request_sha256=request_sha256,
            now=self._clock(),
        )
        accepted = await self._admission.admit(
            [job], Amounts(1, 0.0, source.duration_s, source.blob.size_bytes * (1 + TRACKS_OF_A_MIX))
        )
        self._admission.push(accepted)
        return accepted[0]

    async def read(self, tenant: str, job_id: str) -> Job:
        """Raises JobNotFound, for a job of another kind too."""
        job = await self._jobs.read(tenant, job_id)
        if job.kind is not JobKind.PROCESS:
            raise JobNotFound(job_id)
        return job

    def outputs(self, job: Job) -> tuple[Track, ...]:
        """What can be downloaded by now. Raises Gone where it has expired."""
        if job.finished_at is not None and self._clock() > job.finished_at + self._kept_for:
            raise Gone("the outputs of this job have expired")
        encodes = not ProcessSpec.from_record(job.params).plan.delivery.is_as_worked_on
        return () if encodes and not job.state.is_finished else delivered(job)

    def output(self, job: Job, name: str) -> Track:
        """Raises NotFound, Conflict while it may still come, Gone."""
        outputs = self.outputs(job)
        for track in outputs:
            if track.name == name:
                return track
        if not job.state.is_finished:
            raise Conflict(
                f"job {job.id} is {job.state}: there is no track {name[:80]!r} yet", code="not-ready"
            )
        there = ", ".join(track.name for track in outputs) or "none"
        raise NotFound(f"job {job.id} has no track {name[:80]!r}; it has: {there}")

    def all_outputs(self, job: Job) -> tuple[Track, ...]:
        """Of a job that has ended. Raises Conflict before, and where it made nothing; Gone."""
        if not job.state.is_finished:
            raise Conflict(f"job {job.id} is {job.state}: its outputs are not complete", code="not-ready")
        outputs = self.outputs(job)
        if not outputs:
            raise Conflict(f"job {job.id} is {job.state}: it has no outputs")
        return outputs

    async def content(self, tenant: str, track: Track) -> AsyncIterator[bytes]:
        """The file's bytes, a piece at a time. Raises BlobCorrupt."""
        for start in range(0, track.blob.size_bytes, _READ_BYTES):
            yield await self._blobs.read(tenant, track.blob, start, _READ_BYTES)

    async def _keep(self, tenant: str, job_id: str, received: ReceivedUpload) -> Track:
        with temporary_folder("process-upload") as folder:
            async with self._decoding:
                decoded = await decode_file(received.path, folder / "mix.wav", self._limits)
            needed = disk_bytes(decoded.samples, decoded.rate_hz, decoded.channels, MOST_SOURCES)
            if needed > self._settings.max_disk_bytes:
                raise PayloadTooLarge(
                    self._settings.max_disk_bytes,
                    what=f"What taking this track apart needs on disk ({needed / 1e9:.1f} GB)",
                )
            blob = await self._blobs.put_file(tenant, f"source-{job_id}", decoded.path, decoded.sha256)
        return Track(
            name=SOURCE,
            blob=blob,
            format="wav",
            samples=decoded.samples,
            sample_rate_hz=decoded.rate_hz,
            channels=decoded.channels,
            rms_dbfs=decoded.rms_dbfs,
            peak_dbfs=decoded.peak_dbfs,
            facts={"container": decoded.container.value, "codec": decoded.codec},
        )
