"""Dashboards and alerts ask for metrics that the code registers, by labels that these have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from deployments.telemetry.catalog import METRICS, PREFIX
from deployments.telemetry.dashboard import OF_SERVE, dashboard
from tests.ops.files import OPS, ROOT

BY_SERIES = {series: metric for metric in METRICS for series in metric.exported}
FROM_RAY = {"application", "deployment", "replica"}


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((OPS / "prometheus/alerts.yaml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def queries() -> Iterator[tuple[str, str]]:
    for panel in json.loads((OPS / "grafana/segue.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")
    for rule in alerts():
        yield rule["alert"], rule["expr"]


def selectors(expression: promql_parser.Expr) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def look(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(expression, look)
    return found


@pytest.mark.parametrize(("title", "query"), list(queries()), ids=lambda text: re.sub(r"\W+", "-", text)[:40])
def test_a_query_names_what_is_exported(title: str, query: str) -> None:
    parsed = promql_parser.parse(query)
    named = selectors(parsed)
    assert named
    labels = set(FROM_RAY)
    for selector in named:
        assert selector.name in BY_SERIES or selector.name in OF_SERVE, title
        if selector.name in OF_SERVE:
            continue
        own = {*BY_SERIES[selector.name].labels, *FROM_RAY}
        assert {matcher.name for matcher in selector.matchers.matchers} <= own, title
        labels |= own
    for names in re.findall(r"by \(([^)]*)\)", query):
        assert {name.strip() for name in names.split(",")} <= labels | {"le"}, title


def test_the_dashboard_is_what_the_code_says_and_shows_every_metric() -> None:
    made = dashboard()
    assert json.loads((OPS / "grafana/segue.json").read_text()) == made, (
        "python -m deployments.telemetry.dashboard > ops/grafana/segue.json"
    )
    text = json.dumps(made)
    assert [metric.name for metric in METRICS if f"{PREFIX}{metric.name}" not in text] == []
    places = [panel["gridPos"] for panel in made["panels"]]
    assert len({(place["x"], place["y"]) for place in places}) == len(places)


def test_every_alert_says_what_it_means_and_the_guide_what_to_do() -> None:
    guide = (ROOT / "docs" / "operate.md").read_text()
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert f"`{rule['alert']}`" in guide
