from __future__ import annotations

import re
from pathlib import Path

from deployments.telemetry.catalog import METRICS, Kind
from deployments.telemetry.document import page

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_page_of_metrics_is_what_the_code_says() -> None:
    assert (DOCS / "metrics.md").read_text() == page(), (
        "python -m deployments.telemetry.document > docs/metrics.md"
    )


def test_rows_are_as_prometheus_wants_them() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"segue_[a-z][a-z0-9_]*", metric.name)
        assert not metric.name.endswith(("_total", "_bucket", "_sum", "_count")), metric.name
        assert metric.unit
        assert metric.help[0].isupper() or metric.help[0].isdigit()
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets)
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert all(bound > 0 for bound in metric.buckets), "Ray takes no others"
