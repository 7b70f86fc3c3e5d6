"""The table of Segue's own metrics: one row for each, and nothing is measured that has no row.

`docs/metrics.md` is made from it (`python -m deployments.telemetry.document`), and the dashboard and the alerts in
`ops/` are checked against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PREFIX: Final = "ray_"
"""Ray puts it before each name on its metrics port."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


_SUFFIXES: Mapping[Kind, tuple[str, ...]] = {
    Kind.COUNTER: ("_total",),
    Kind.GAUGE: ("",),
    Kind.HISTOGRAM: ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """`where` names the deployments that export it; "models" are those that host one. `buckets` are the upper
    bounds of a histogram."""

    name: str
    kind: Kind
    unit: str
    help: str
    where: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def exported(self) -> tuple[str, ...]:
        """The names of its series in Prometheus."""
        return tuple(f"{PREFIX}{self.name}{suffix}" for suffix in _SUFFIXES[self.kind])


def _buckets(first: float, last: float) -> tuple[float, ...]:
    """1, 3, 10, 30, ... between two powers of ten, both included."""
    bounds, power = [first], first
    while power < last:
        bounds += [round(3 * power, 6), round(10 * power, 6)]
        power = round(10 * power, 6)
    return tuple(bounds)


_MOMENTS_S = _buckets(0.001, 100.0)
_WAITS_S = _buckets(0.01, 1000.0)
_LONG_S = _buckets(0.1, 10_000.0)


def _counter(name: str, unit: str, where: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, unit, text, where, labels)


def _gauge(name: str, unit: str, where: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, unit, text, where, labels)


def _histogram(
    name: str, unit: str, where: str, text: str, buckets: tuple[float, ...], *labels: str
) -> Metric:
    return Metric(name, Kind.HISTOGRAM, unit, text, where, labels, buckets)


# HTTP

HTTP_REQUESTS = _counter(
    "segue_http_requests",
    "requests",
    "Ingress",
    "Requests whose answer has ended",
    "method",
    "route",
    "status",
)
HTTP_SECONDS = _histogram(
    "segue_http_request_seconds",
    "s",
    "Ingress",
    "From a request's arrival to its answer's end; of an event stream, its life",
    _MOMENTS_S,
    "method",
    "route",
)
HTTP_OPEN = _gauge(
    "segue_http_requests_open",
    "requests",
    "Ingress",
    "Answers that are being sent, open event streams above all",
    "route",
)
EVENT_LAG = _histogram(
    "segue_event_lag_seconds",
    "s",
    "Ingress",
    "From a notice's publication to its arrival at a stream that waits for it, by the clocks of both nodes",
    _MOMENTS_S,
    "notice",
)
STORAGE_READY = _gauge(
    "segue_storage_ready", "0 or 1", "Ingress", "1 while the storage takes writes, as `/readyz` last saw it"
)

# Jobs

JOB_QUEUE_WAIT = _histogram(
    "segue_job_queue_wait_seconds",
    "s",
    "JobRunner",
    "From a job's acceptance to its first claim by a runner",
    _WAITS_S,
    "kind",
)
JOB_FIRST_AUDIO = _histogram(
    "segue_job_first_audio_seconds",
    "s",
    "JobRunner",
    "From a take's acceptance to its first new audio in the chain's format",
    _WAITS_S,
    "kind",
)
JOB_SECONDS = _histogram(
    "segue_job_seconds", "s", "JobRunner", "From a job's acceptance to its end", _LONG_S, "kind", "outcome"
)
JOBS_ENDED = _counter(
    "segue_jobs_ended",
    "jobs",
    "JobRunner",
    "Jobs that runners ended; `code` is that of the error, `none` without one",
    "kind",
    "outcome",
    "code",
)
JOB_ATTEMPTS = _counter(
    "segue_job_attempts",
    "attempts",
    "JobRunner",
    "Attempts that ended: `done`, `retry` (another follows), `stopped` (given back by a tidy stop)",
    "kind",
    "outcome",
)
JOB_STAGE_SECONDS = _histogram(
    "segue_job_stage_seconds",
    "s",
    "JobRunner",
    "What one stage of a job took",
    _WAITS_S,
    "kind",
    "stage",
    "outcome",
)
JOB_LEASE_LOSSES = _counter(
    "segue_job_lease_losses",
    "claims",
    "JobRunner",
    "Claims that this runner lost: `fenced` (another has it), `silent` (no heartbeat got through)",
    "kind",
    "reason",
)
JOB_TAKEOVERS = _counter(
    "segue_job_takeovers", "claims", "JobRunner", "Claims taken over from a runner without heartbeats", "kind"
)
JOBS_RUNNING = _gauge("segue_jobs_running", "jobs", "JobRunner", "Jobs that this runner works on")
JOBS_WAITING = _gauge("segue_jobs_waiting", "jobs", "JobRunner", "Jobs that wait in this runner")
SEAM_LEVEL = _histogram(
    "segue_seam_level_db",
    "dB",
    "JobRunner",
    "The step in level at a take's seam: between its context's last second and its own first, without sign",
    (0.5, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0),
)
COLLECTED_OBJECTS = _counter(
    "segue_collected_objects", "objects", "JobRunner", "Objects that the collector removed"
)
COLLECTED_BYTES = _counter("segue_collected_bytes", "bytes", "JobRunner", "What they occupied")

# Storage

STORAGE_OPERATIONS = _counter(
    "segue_storage_operations",
    "operations",
    "Ingress, JobRunner",
    "Operations of the store; `outcome` is `ok` or the error's kind",
    "operation",
    "outcome",
)
STORAGE_SECONDS = _histogram(
    "segue_storage_operation_seconds",
    "s",
    "Ingress, JobRunner",
    "What an operation of the store took, its repetitions included",
    _MOMENTS_S,
    "operation",
)
STORAGE_RETRIES = _counter(
    "segue_storage_retries",
    "calls",
    "Ingress, JobRunner",
    "Calls to S3 made again after a failure",
    "operation",
)
STORAGE_CONFLICTS = _counter(
    "segue_storage_conflicts",
    "writes",
    "Ingress, JobRunner",
    "Conditional writes that found another state: compare-and-swap (`if-match`), creation (`if-absent`)",
    "condition",
)
STORAGE_BYTES = _counter(
    "segue_storage_bytes",
    "bytes",
    "Ingress, JobRunner",
    "Bytes of objects read and written",
    "direction",
)

# Models

MODEL_SECONDS = _counter(
    "segue_model_seconds",
    "s",
    "models",
    "Time of a replica's engine, divided between the requests in it at each moment",
    "tenant",
)
GPU_SECONDS = _counter(
    "segue_gpu_seconds", "GPU s", "models", "The same, times the replica's share of a GPU", "tenant"
)
MODEL_LOAD_SECONDS = _histogram(
    "segue_model_load_seconds", "s", "models", "What loading the model took, without downloads", _WAITS_S
)
MODEL_LOAD_FAILURES = _counter(
    "segue_model_load_failures", "tries", "models", "Tries to load the model that failed"
)

# The generator's batch

BATCH_ROWS = _gauge(
    "segue_generator_batch_rows", "rows", "Generator", "Rows of the last step; a guided take has two"
)
BATCH_TAKES = _gauge("segue_generator_batch_takes", "takes", "Generator", "Takes that made the last step")
WAITING_TAKES = _gauge("segue_generator_waiting_takes", "takes", "Generator", "Takes that wait for room")
KV_USED = _gauge(
    "segue_generator_kv_used_bytes", "bytes", "Generator", "Keys and values of all admitted takes"
)
KV_BUDGET = _gauge(
    "segue_generator_kv_budget_bytes", "bytes", "Generator", "The most that keys and values may occupy"
)
STEPS = _counter("segue_generator_steps", "steps", "Generator", "Steps made")
STEP_SECONDS = _histogram("segue_generator_step_seconds", "s", "Generator", "What a step took", _MOMENTS_S)
TAKE_QUEUE_WAIT = _histogram(
    "segue_generator_queue_wait_seconds", "s", "Generator", "From a take's arrival to its admission", _WAITS_S
)
TAKE_FIRST_AUDIO = _histogram(
    "segue_generator_first_audio_seconds",
    "s",
    "Generator",
    "From a take's arrival to its first samples",
    _WAITS_S,
)
REAL_TIME_FACTOR = _histogram(
    "segue_generator_real_time_factor",
    "s/s",
    "Generator",
    "Seconds of a finished take's audio for each second since it arrived",
    (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
)
CANCEL_TO_FREE = _histogram(
    "segue_generator_cancel_to_free_seconds",
    "s",
    "Generator",
    "From a cancellation to the freed room",
    _MOMENTS_S,
)

METRICS: Final[tuple[Metric, ...]] = tuple(
    each for each in list(globals().values()) if isinstance(each, Metric)
)
