"""Jobs: units of work with a durable record, claimed by fenced leases.

The moves are a closed table. A claim raises `fence`; only the holder of the highest fence may beat or finish,
so an attempt that was given up for dead can do no harm when it wakes. Leases trust no clock: see
`LeaseWatch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from storage.domain.accounts import Amounts
from storage.domain.model import DomainError, Failure, Fenced, Refused, Track


class JobKind(StrEnum):
    """`generate` makes a node, `stems` and `analysis` derive something from one, `export` encodes a line of them,
    `process` takes an uploaded track through the pipeline."""

    GENERATE = "generate"
    STEMS = "stems"
    ANALYSIS = "analysis"
    EXPORT = "export"
    PROCESS = "process"

    @property
    def publishes_in_a_chain(self) -> bool:
        """True where the chain, not the job's own record, holds the outcome."""
        return self in (JobKind.GENERATE, JobKind.STEMS, JobKind.ANALYSIS)


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        return not MOVES[self]


MOVES: Mapping[JobState, frozenset[JobState]] = {
    # A queued job succeeds where a claim that was given back, or given up for dead, had published.
    JobState.QUEUED: frozenset(
        {JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED},
    ),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED},
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


MAX_MACHINES_LOST = 10
"""A job whose machine ends under it more often than this may be why: its attempts count from then on."""


class JobNotFound(DomainError):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id}")


class AttemptsExhausted(DomainError):
    """The job was tried as often as allowed; whoever finds it must fail it."""


class StageState(StrEnum):
    """How a step of a job ended. A skipped one lacked what a failed one should have made."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One finished step of a job: how long it took, what it was asked to do and what it made."""

    name: str
    seconds: float
    state: StageState = StageState.SUCCEEDED
    params: Mapping[str, Any] = field(default_factory=dict)
    tracks: tuple[Track, ...] = ()
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job's record. `progress` is 0..1; `beat` rises with every sign of life under one fence. `inputs` are the
    names of the blobs that it reads and that nothing else may name. `origin` is the request that asked for it: its
    `request_id`, and its `traceparent` where it is traced; it decides nothing. `machine` is where the holder of the
    latest claim works, empty where that is not known, and `machines_lost` how many claims ended with their machine.

    `audio_s` is how much audio it makes or works on, `weight` its tenant's share of turns. `gpu_s` and
    `stored_bytes` are what its attempts took of models' time and of the storage.
    """

    id: str
    kind: JobKind
    tenant: str
    created_at: datetime
    updated_at: datetime
    request_sha256: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    state: JobState = JobState.QUEUED
    attempt: int = 0
    fence: int = 0
    beat: int = 0
    lease_s: float = 0.0
    progress: float = 0.0
    cancel_requested: bool = False
    audio_s: float = 0.0
    weight: int = 1
    gpu_s: float = 0.0
    stored_bytes: int = 0
    stages: tuple[StageRecord, ...] = ()
    result: Mapping[str, Any] | None = None
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    machines_lost: int = 0

    @property
    def chain_id(self) -> str | None:
        value = self.params.get("chain_id")
        return value if isinstance(value, str) else None

    @property
    def node_id(self) -> str | None:
        value = self.params.get("node_id")
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Sign:
    """A running job's sign of life. A claimant takes over only if it saw one stand still for long enough.
    `machine_gone`: the claimant knows that the holder's whole machine has ended, not the holder alone."""

    fence: int
    beat: int
    machine_gone: bool = field(default=False, compare=False)


def sign_of(job: Job) -> Sign:
    return Sign(job.fence, job.beat)


def claim(
    job: Job,
    *,
    lease_s: float,
    max_attempts: int | None,
    stale: Sign | None,
    now: datetime,
    machine: str = "",
) -> Job:
    """Take a queued job, or a running one whose sign of life is still the `stale` one the claimant watched.

    An attempt that ended with its machine (a stop of the whole cluster, a drained node, a power cut) is not the
    job's fault and does not count, up to MAX_MACHINES_LOST times.

    Raises Refused if it is finished or alive, AttemptsExhausted after `max_attempts` (None: no bound, for who
    claims it only to fail it).
    """
    if job.state.is_finished:
        raise Refused(f"job {job.id} is {job.state}")
    if job.state is JobState.RUNNING and sign_of(job) != stale:
        raise Refused(f"job {job.id} is being worked on")
    lost = (
        job.state is JobState.RUNNING
        and stale is not None
        and stale.machine_gone
        and job.machines_lost < MAX_MACHINES_LOST
    )
    tried = job.attempt - 1 if lost else job.attempt
    if max_attempts is not None and tried >= max_attempts:
        raise AttemptsExhausted(f"job {job.id} was given up after {job.attempt} attempts")
    return replace(
        job,
        state=JobState.RUNNING,
        attempt=tried + 1,
        fence=job.fence + 1,
        beat=0,
        machine=machine,
        machines_lost=job.machines_lost + lost,
        lease_s=lease_s,
        progress=0.0,
        started_at=job.started_at or now,
        updated_at=now,
    )


def beat(job: Job, fence: int, progress: float, now: datetime) -> Job:
    """Prove that claim `fence` lives. Raises Fenced if it is not the claim any more."""
    _require_claim(job, fence)
    return replace(job, beat=job.beat + 1, progress=max(job.progress, progress), updated_at=now)


def record_stage(job: Job, fence: int, stage: StageRecord, now: datetime) -> Job:
    """Keep a finished step, in place of an earlier one of its name. Steps outlive their claim: the next one goes
    on after them. Raises Fenced."""
    _require_claim(job, fence)
    others = tuple(old for old in job.stages if old.name != stage.name)
    return replace(job, stages=(*others, stage), updated_at=now)


def release(
    job: Job,
    fence: int,
    now: datetime,
    *,
    count_attempt: bool,
    error: Failure | None = None,
) -> Job:
    """Give a claim back to the queue, with what went wrong. A tidy stop does not count as an attempt.

    Raises Fenced.
    """
    _require_claim(job, fence)
    attempt = job.attempt if count_attempt else job.attempt - 1
    return replace(job, state=JobState.QUEUED, attempt=attempt, progress=0.0, error=error, updated_at=now)


def finish(
    job: Job,
    state: JobState,
    now: datetime,
    *,
    fence: int | None = None,
    result: Mapping[str, Any] | None = None,
    error: Failure | None = None,
    stages: tuple[StageRecord, ...] | None = None,
) -> Job:
    """End a job. With `fence`, only as that claim; without, because the chain already says how it ended.

    A finished job stays as it is. Raises Fenced, or Refused for a state that is no end.
    """
    if job.state.is_finished:
        return job
    if fence is not None:
        _require_claim(job, fence)
    if not state.is_finished:
        raise Refused(f"job {job.id} cannot end as {state}")
    return replace(
        job,
        state=state,
        progress=1.0 if state is JobState.SUCCEEDED else job.progress,
        result=dict(result) if result is not None else job.result,
        error=error,
        stages=job.stages if stages is None else stages,
        updated_at=now,
        finished_at=now,
    )


def charge(job: Job, gpu_s: float, stored_bytes: int) -> Job:
    """With what an attempt took added; a finished job stays as it is."""
    if job.state.is_finished:
        return job
    return replace(job, gpu_s=round(job.gpu_s + gpu_s, 3), stored_bytes=job.stored_bytes + stored_bytes)


def spent(job: Job) -> Amounts:
    """What a job that has ended took. Audio that was not made costs nothing."""
    made_s = job.audio_s if job.state is JobState.SUCCEEDED else 0.0
    return Amounts(jobs=1, gpu_s=job.gpu_s, audio_s=made_s, stored_bytes=job.stored_bytes)


def request_cancel(job: Job, now: datetime) -> Job:
    """Ask for an end, which a running job's holder makes, and at once if it is queued and publishes in no chain.

    A queued one that publishes in a chain is ended by who claims it next, as its chain says. Ended here, it could
    leave a node behind that is on its way into the chain and that nobody would end, or hide one that is ready.
    """
    if job.state.is_finished:
        return job
    if job.state is JobState.QUEUED and not job.kind.publishes_in_a_chain:
        return finish(replace(job, cancel_requested=True), JobState.CANCELLED, now)
    return job if job.cancel_requested else replace(job, cancel_requested=True, updated_at=now)


class LeaseWatch:
    """Decides from a claimant's own monotonic clock that a running job's holder is dead.

    No clock is compared with another machine's: a job is stale once this watcher has itself seen the same
    sign of life for `lease_s` + `grace_s`.
    """

    def __init__(self, grace_s: float = 5.0) -> None:
        self._grace_s = grace_s
        self._seen: dict[str, tuple[Sign, float]] = {}

    def observe(self, job: Job, now_s: float) -> Sign | None:
        """The stale sign to claim with, or None while the holder may live. `now_s` is monotonic seconds."""
        if job.state is not JobState.RUNNING:
            self._seen.pop(job.id, None)
            return None
        sign = sign_of(job)
        seen = self._seen.get(job.id)
        if seen is None or seen[0] != sign:
            self._seen[job.id] = (sign, now_s)
            return None
        return sign if now_s - seen[1] >= job.lease_s + self._grace_s else None

    def forget_all_but(self, job_ids: frozenset[str]) -> None:
        """Drop what was seen of jobs that are no longer active, so that memory stays bounded."""
        self._seen = {job_id: seen for job_id, seen in self._seen.items() if job_id in job_ids}


def _require_claim(job: Job, fence: int) -> None:
    if job.state is not JobState.RUNNING or job.fence != fence:
        raise Fenced(f"job {job.id} is {job.state} under claim {job.fence}, not {fence}")
