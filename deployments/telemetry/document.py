"""The page of all metrics, made from their table: `python -m deployments.telemetry.document > docs/metrics.md`."""

from __future__ import annotations

from deployments.telemetry.catalog import METRICS, PREFIX, Kind, Metric

_HEAD = """# Metrics

Made from `deployments/telemetry/catalog.py` by `python -m deployments.telemetry.document`; a test keeps it so.

Each node of the cluster exports them on Ray's metrics port, whose targets Ray keeps in
`/tmp/ray/prom_metrics_service_discovery.json`, beside Ray's and Serve's own (`ray_serve_*`). Every series also has
the labels `application`, `deployment` and `replica`. `ops/` has a dashboard and alerts made of them
([operating](operate.md#watching-it)).

| series | kind | unit | labels | exported by | |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page, as Markdown."""
    return _HEAD + "".join(map(_row, METRICS))


def _row(metric: Metric) -> str:
    if metric.kind is Kind.HISTOGRAM:
        shown = f"`{PREFIX}{metric.name}` (`_bucket`, `_sum`, `_count`)"
    else:
        shown = f"`{metric.exported[0]}`"
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| {shown} | {metric.kind} | {metric.unit} | {labels} | {metric.where} | {metric.help} |\n"


if __name__ == "__main__":
    print(page(), end="")
