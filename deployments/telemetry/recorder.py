"""Where measurements go: Ray's metrics port, or nowhere."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from deployments.telemetry.catalog import Kind, Metric


class Recorder(Protocol):
    """Takes one measurement of a metric: an amount to add to a counter, the value of a gauge, a sample of a
    histogram. `labels` are exactly the metric's own. May be called from any thread, and does not block."""

    def record(self, metric: Metric, value: float, **labels: str) -> None: ...


class Nowhere:
    """Measures nothing: for one process without Ray."""

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        pass


class RayRecorder:
    """Exports through Ray, which adds the application, deployment and replica as labels."""

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        instrument = _instrument(metric)
        match metric.kind:
            case Kind.COUNTER:
                if value > 0:
                    instrument.inc(value, tags=labels)
            case Kind.GAUGE:
                instrument.set(value, tags=labels)
            case Kind.HISTOGRAM:
                instrument.observe(value, tags=labels)


@cache
def _instrument(metric: Metric) -> Any:
    """Ray's object for a metric; there is one in each process."""
    from ray.serve import metrics

    match metric.kind:
        case Kind.COUNTER:
            return metrics.Counter(metric.name, metric.help, metric.labels)
        case Kind.GAUGE:
            return metrics.Gauge(metric.name, metric.help, metric.labels)
        case Kind.HISTOGRAM:
            return metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.labels)
