"""Grafana's dashboard, made from the table of metrics: `python -m deployments.telemetry.dashboard >
ops/grafana/segue.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deployments.telemetry import catalog as of
from deployments.telemetry.catalog import PREFIX, Metric

_RATE = "[$__rate_interval]"
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries` are (legend, PromQL)."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


def rate(metric: Metric, *by: str, where: str = "") -> str:
    """What is added to a counter in a second, by labels."""
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} (rate({metric.exported[0]}{where}{_RATE}))"


def total(metric: Metric, *by: str) -> str:
    """A gauge, over all replicas."""
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} ({metric.exported[0]})"


def quantile(metric: Metric, share: float, *by: str, where: str = "") -> str:
    """The value that this share of a histogram's samples stays below."""
    buckets = metric.exported[0]
    labels = ", ".join(["le", *by])
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({buckets}{where}{_RATE})))"


def halves_and_tails(metric: Metric, *by: str, where: str = "") -> list[tuple[str, str]]:
    shown = " ".join(f"{{{{{label}}}}}" for label in by)
    return [
        (f"p{share * 100:g} {shown}".strip(), quantile(metric, share, *by, where=where))
        for share in (0.5, 0.99)
    ]


SERVE_REPLICAS = f"{PREFIX}serve_deployment_replica_healthy"
SERVE_QUEUED = f"{PREFIX}serve_deployment_queued_queries"
OF_SERVE = (SERVE_REPLICAS, SERVE_QUEUED)
"""Serve's own metrics that are shown besides."""

_STREAMS = '{route=~".*/events"}'
_ANSWERS = '{route!~".*/events|none"}'

ROWS: Sequence[Row] = (
    Row(
        "What users notice",
        (
            Panel("Requests", "reqps", [("{{status}}", rate(of.HTTP_REQUESTS, "status"))]),
            Panel("Time of an answer", "s", halves_and_tails(of.HTTP_SECONDS, where=_ANSWERS)),
            Panel(
                "Time of an answer, p99 by route",
                "s",
                [
                    (
                        "{{method}} {{route}}",
                        quantile(of.HTTP_SECONDS, 0.99, "method", "route", where=_ANSWERS),
                    )
                ],
            ),
            Panel(
                "Time to first audio",
                "s",
                halves_and_tails(of.JOB_FIRST_AUDIO),
                "From a take's acceptance to its first audible samples.",
            ),
            Panel(
                "Jobs that ended", "ops", [("{{kind}} {{outcome}}", rate(of.JOBS_ENDED, "kind", "outcome"))]
            ),
            Panel(
                "Open event streams", "short", [("streams", f"sum ({of.HTTP_OPEN.exported[0]}{_STREAMS})")]
            ),
            Panel(
                "Lag of events",
                "s",
                halves_and_tails(of.EVENT_LAG, "notice"),
                "From a change's notice to the event stream that waits for it.",
            ),
        ),
    ),
    Row(
        "Jobs",
        (
            Panel(
                "Running and waiting",
                "short",
                [
                    ("running", total(of.JOBS_RUNNING)),
                    ("waiting", total(of.JOBS_WAITING)),
                ],
            ),
            Panel("Wait for a runner", "s", halves_and_tails(of.JOB_QUEUE_WAIT, "kind")),
            Panel("From acceptance to end", "s", halves_and_tails(of.JOB_SECONDS, "kind")),
            Panel(
                "Stages, p50",
                "s",
                [("{{kind}} {{stage}}", quantile(of.JOB_STAGE_SECONDS, 0.5, "kind", "stage"))],
            ),
            Panel("Errors", "ops", [("{{code}}", rate(of.JOBS_ENDED, "code", where='{outcome="failed"}'))]),
            Panel(
                "Leases",
                "ops",
                [
                    ("lost: {{reason}}", rate(of.JOB_LEASE_LOSSES, "reason")),
                    ("taken over", rate(of.JOB_TAKEOVERS)),
                    ("attempts: {{outcome}}", rate(of.JOB_ATTEMPTS, "outcome", where='{outcome!="done"}')),
                ],
                "A claim is lost when no heartbeat gets through; another runner then takes the job over.",
            ),
            Panel("Step in level at seams", "dB", halves_and_tails(of.SEAM_LEVEL)),
        ),
    ),
    Row(
        "Generators",
        (
            Panel(
                "Batch",
                "short",
                [
                    ("rows {{deployment}}", total(of.BATCH_ROWS, "deployment")),
                    ("takes {{deployment}}", total(of.BATCH_TAKES, "deployment")),
                    ("waiting {{deployment}}", total(of.WAITING_TAKES, "deployment")),
                ],
            ),
            Panel(
                "Keys and values, used of budget",
                "percentunit",
                [("{{replica}}", f"{of.KV_USED.exported[0]} / {of.KV_BUDGET.exported[0]}")],
            ),
            Panel("A step", "s", halves_and_tails(of.STEP_SECONDS)),
            Panel("Steps", "ops", [("{{deployment}}", rate(of.STEPS, "deployment"))]),
            Panel("Audio for each second", "short", halves_and_tails(of.REAL_TIME_FACTOR)),
            Panel("Wait for room in a batch", "s", halves_and_tails(of.TAKE_QUEUE_WAIT)),
            Panel("First audio of a take in the replica", "s", halves_and_tails(of.TAKE_FIRST_AUDIO)),
            Panel("Cancellation to freed room", "s", halves_and_tails(of.CANCEL_TO_FREE)),
        ),
    ),
    Row(
        "Replicas",
        (
            Panel(
                "Healthy replicas", "short", [("{{deployment}}", f"sum by (deployment) ({SERVE_REPLICAS})")]
            ),
            Panel(
                "Queued at handles", "short", [("{{deployment}}", f"sum by (deployment) ({SERVE_QUEUED})")]
            ),
            Panel("GPUs in use, by tenant", "short", [("{{tenant}}", rate(of.GPU_SECONDS, "tenant"))]),
            Panel(
                "Engines busy, by deployment",
                "short",
                [("{{deployment}}", rate(of.MODEL_SECONDS, "deployment"))],
                "1 is one replica's engine at work all the time.",
            ),
            Panel("Loading a model", "s", halves_and_tails(of.MODEL_LOAD_SECONDS, "deployment")),
            Panel(
                "Loading that failed", "ops", [("{{deployment}}", rate(of.MODEL_LOAD_FAILURES, "deployment"))]
            ),
        ),
    ),
    Row(
        "Storage",
        (
            Panel("Takes writes", "short", [("ready", f"min ({of.STORAGE_READY.exported[0]})")]),
            Panel("Operations", "ops", [("{{operation}}", rate(of.STORAGE_OPERATIONS, "operation"))]),
            Panel(
                "Failures and repetitions",
                "ops",
                [
                    (
                        "failed: {{operation}}",
                        rate(of.STORAGE_OPERATIONS, "operation", where='{outcome="failed"}'),
                    ),
                    ("again: {{operation}}", rate(of.STORAGE_RETRIES, "operation")),
                ],
            ),
            Panel("Time of an operation", "s", halves_and_tails(of.STORAGE_SECONDS, "operation")),
            Panel(
                "Conflicts of conditional writes",
                "ops",
                [("{{condition}}", rate(of.STORAGE_CONFLICTS, "condition"))],
            ),
            Panel("Bytes", "Bps", [("{{direction}}", rate(of.STORAGE_BYTES, "direction"))]),
            Panel(
                "Collected",
                "ops",
                [("objects", rate(of.COLLECTED_OBJECTS)), ("bytes", rate(of.COLLECTED_BYTES))],
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """As Grafana imports it; it asks for the Prometheus that has the metrics."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        panels.append(
            {
                "type": "row",
                "title": row.title,
                "id": len(panels) + 1,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": top, "w": _WIDTH * _COLUMNS, "h": 1},
            }
        )
        top += 1
        for index, panel in enumerate(row.panels):
            place = {"x": index % _COLUMNS * _WIDTH, "y": top + index // _COLUMNS * _HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, {**place, "w": _WIDTH, "h": _HEIGHT}))
        top += -(-len(row.panels) // _COLUMNS) * _HEIGHT
    return {
        "uid": "segue",
        "title": "Segue",
        "tags": ["segue"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "type": "timeseries",
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": source}
            for index, (legend, query) in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
