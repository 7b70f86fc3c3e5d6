"""Jobs that take an uploaded track through the pipeline. Their own record is the manifest, kept stage by stage."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployments.engines.separation.protocol import Separator
from deployments.specs.process import PipelinePlan, ProcessSpec
from deployments.stages.pipeline.chain import PipelineStage, run_pipeline
from deployments.stages.pipeline.composite import CompositeStage
from deployments.stages.pipeline.encode import EncodeStage
from deployments.stages.pipeline.harmonic import HarmonicPercussiveStage
from deployments.stages.pipeline.normalisation import NormalisationStage
from deployments.stages.pipeline.separation import SeparationStage, disk_bytes
from deployments.stages.pipeline.workspace import MIX, Workspace
from deployments.temporary import temporary_folder, temporary_root
from deployments.worker.handlers.handler import Progress
from storage.domain.jobs import Job, JobState, StageRecord, StageState, record_stage
from storage.domain.model import Failure
from storage.domain.outcomes import Outcome
from storage.repositories.blobs import Blobs
from storage.repositories.jobs import Jobs


@dataclass(frozen=True, slots=True)
class PipelineTools:
    """What the stages work with. `in_flight` segments of one track are separated at once."""

    separators: Mapping[str, Separator]
    ffmpeg: Path
    ffmpeg_timeout_s: float
    in_flight: int = 2

    def stages(self, plan: PipelinePlan) -> list[PipelineStage]:
        stages: list[PipelineStage] = [
            SeparationStage(self.separators, plan.model, plan.separation, self.in_flight)
        ]
        if plan.harmonic_percussive:
            stages.append(HarmonicPercussiveStage())
        if plan.composite:
            stages.append(CompositeStage())
        if plan.normalisation is not None:
            stages.append(NormalisationStage(plan.normalisation))
        if not plan.delivery.is_as_worked_on:
            stages.append(EncodeStage(plan.delivery, self.ffmpeg, self.ffmpeg_timeout_s))
        return stages


class ProcessHandler:
    """Satisfies `JobHandler`. Each stage's record is a commit point: an attempt goes on where the last one was."""

    def __init__(self, jobs: Jobs, blobs: Blobs, tools: PipelineTools, max_attempts: int) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._tools = tools
        self._max_attempts = max_attempts
        self._held_bytes = 0

    async def open(self, job: Job) -> Outcome | None:
        return await self.decided(job)

    async def decided(self, job: Job) -> Outcome | None:
        return Outcome(JobState.CANCELLED) if job.cancel_requested else None

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        async def keep(record: StageRecord) -> None:
            await self._jobs.change(
                job.tenant, job.id, lambda now_job, now: record_stage(now_job, job.fence, record, now)
            )

        spec = ProcessSpec.from_record(job.params)
        with self._room(await self._needed_bytes(spec)), temporary_folder("process") as folder:
            workspace = Workspace(folder, self._blobs, job.tenant, f"{job.id}-{job.fence}")
            workspace.add(MIX, spec.source.blob)
            records = await run_pipeline(
                self._tools.stages(spec.plan),
                workspace,
                job.stages,
                is_last_attempt=job.attempt >= self._max_attempts,
                on_stage=keep,
                on_progress=on_progress,
            )
        return _outcome(records)

    async def _needed_bytes(self, spec: ProcessSpec) -> int:
        separator, source = self._tools.separators.get(spec.plan.model), spec.source
        sources = 0 if separator is None else len((await separator.info()).sources)
        return disk_bytes(source.samples, source.sample_rate_hz, source.channels, sources)

    @contextmanager
    def _room(self, needed_bytes: int) -> Iterator[None]:
        """Hold temporary disk for a job, beside what the others here hold. Raises OSError where there is not so
        much: the job then waits, as it would in the middle of its work."""
        free_bytes = shutil.disk_usage(temporary_root().own_folder()).free
        if self._held_bytes + needed_bytes > free_bytes:
            raise OSError(errno.ENOSPC, f"{needed_bytes} bytes of temporary disk are not free")
        self._held_bytes += needed_bytes
        try:
            yield
        finally:
            self._held_bytes -= needed_bytes

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        return Outcome(JobState.FAILED, error=failure)

    async def clean_up(self, job: Job) -> None:
        """The upload is needed no more; what was made of it is kept for a while."""
        await self._blobs.delete(job.tenant, ProcessSpec.from_record(job.params).source.blob)


def _outcome(records: tuple[StageRecord, ...]) -> Outcome:
    made = [record for record in records if record.state is StageState.SUCCEEDED]
    troubles = {record.name: record.error.detail for record in records if record.error is not None}
    if not made:
        first = next((record.error for record in records if record.error is not None), None)
        return Outcome(JobState.FAILED, error=first or Failure("internal", "there was nothing to do"))
    return Outcome(JobState.SUCCEEDED, {"stages": [record.name for record in made], "troubles": troubles})
