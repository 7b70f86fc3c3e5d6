"""Measurements kept in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployments.telemetry.catalog import METRICS, Metric

Labels = frozenset[tuple[str, str]]


@dataclass
class MemoryRecorder:
    """Satisfies `Recorder`; refuses what has no row in the table, and labels that are not the row's."""

    samples: dict[Metric, list[tuple[Labels, float]]] = field(default_factory=lambda: defaultdict(list))

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        assert metric in METRICS
        assert tuple(sorted(labels)) == tuple(sorted(metric.labels)), (metric.name, labels)
        assert all(isinstance(label, str) and label for label in labels.values()), (metric.name, labels)
        self.samples[metric].append((frozenset(labels.items()), value))

    def of(self, metric: Metric, **labels: str) -> list[float]:
        """The values that were recorded with these labels, perhaps among others."""
        wanted = labels.items()
        return [value for given, value in self.samples[metric] if wanted <= dict(given).items()]

    def seen(self) -> Mapping[str, Metric]:
        return {metric.name: metric for metric, values in self.samples.items() if values}
