"""What a runner measures of its jobs, from their acceptance to their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from deployments.stages.watch import watched_by
from deployments.telemetry import catalog, traces
from deployments.telemetry.context import bound
from deployments.telemetry.recorder import Nowhere, Recorder
from storage.domain.jobs import Job
from storage.stores.clock import Clock, utc_now


class JobMeter:
    """`clock` is compared with the times of records, which other machines may have written."""

    def __init__(self, recorder: Recorder | None = None, clock: Clock = utc_now) -> None:
        self._record = (recorder or Nowhere()).record
        self._clock = clock

    def claimed(self, job: Job, *, taken_over: bool) -> None:
        if job.fence == 1 and job.started_at is not None:
            waited_s = (job.started_at - job.created_at).total_seconds()
            self._record(catalog.JOB_QUEUE_WAIT, max(0.0, waited_s), kind=job.kind.value)
        if taken_over:
            self._record(catalog.JOB_TAKEOVERS, 1, kind=job.kind.value)

    def ended(self, job: Job) -> None:
        """`job` is the record of its end."""
        kind, outcome = job.kind.value, job.state.value
        code = job.error.code if job.error is not None else "none"
        self._record(catalog.JOBS_ENDED, 1, kind=kind, outcome=outcome, code=code)
        if job.finished_at is not None:
            took_s = (job.finished_at - job.created_at).total_seconds()
            self._record(catalog.JOB_SECONDS, max(0.0, took_s), kind=kind, outcome=outcome)

    def attempt_ended(self, job: Job, outcome: str) -> None:
        self._record(catalog.JOB_ATTEMPTS, 1, kind=job.kind.value, outcome=outcome)

    def lease_lost(self, job: Job, reason: str) -> None:
        self._record(catalog.JOB_LEASE_LOSSES, 1, kind=job.kind.value, reason=reason)

    def loaded(self, *, running: int, waiting: int) -> None:
        self._record(catalog.JOBS_RUNNING, running)
        self._record(catalog.JOBS_WAITING, waiting)

    @contextmanager
    def attempt(self, job: Job) -> Iterator[None]:
        """Around one attempt: its log lines carry the job's ids, its stages are timed, and it is a span below the
        request that asked for the job."""
        ids = {
            "tenant": job.tenant,
            "job_id": job.id,
            "chain_id": job.chain_id,
            "node_id": job.node_id,
            "request_id": job.origin.get("request_id"),
        }
        with (
            bound(**ids),
            traces.span(f"job {job.kind.value}", parent=job.origin.get("traceparent")),
            watched_by(_JobWatch(job, self._record, self._clock)),
        ):
            traces.describe(attempt=str(job.attempt), **{k: v for k, v in ids.items() if v is not None})
            yield


class _JobWatch:
    """Satisfies `Watch`."""

    def __init__(self, job: Job, record: Callable[..., None], clock: Clock) -> None:
        self._job = job
        self._record = record
        self._clock = clock
        self._is_audible = False

    def stage(self, name: str) -> AbstractContextManager[None]:
        return self._stage(name)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began_s, outcome = time.monotonic(), "failed"
        try:
            with traces.span(f"stage {name}"):
                yield
            outcome = "succeeded"
        finally:
            took_s = time.monotonic() - began_s
            self._record(
                catalog.JOB_STAGE_SECONDS, took_s, kind=self._job.kind.value, stage=name, outcome=outcome
            )

    def audible(self) -> None:
        if not self._is_audible:
            self._is_audible = True
            after_s = (self._clock() - self._job.created_at).total_seconds()
            self._record(catalog.JOB_FIRST_AUDIO, max(0.0, after_s), kind=self._job.kind.value)

    def seam(self, level_db: float) -> None:
        self._record(catalog.SEAM_LEVEL, abs(level_db))
