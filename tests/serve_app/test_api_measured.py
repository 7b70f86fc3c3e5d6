"""What the whole application measures, logs and traces while a musician works."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from configs.settings import TelemetrySettings
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from deployments.telemetry import catalog, traces
from deployments.telemetry.logs import JsonFormatter
from tests.support.harness import Running, running, tone, wav
from tests.support.patience import until
from tests.support.recorder import MemoryRecorder
from tests.support.scripted_engine import ScriptedEngine

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces.use(provider)
    yield exporter
    traces.use(None)


async def journey(app: Running, **headers: str) -> Mapping[str, Any]:
    """A clip, a take, an export; the answer to the branch."""
    chain = await app.upload(wav(tone(1.5)))
    url = f"/v1/chains/{chain['id']}"
    body = {"parent_id": chain["root_id"], "duration_s": 1.0}
    made: dict[str, Any] = (await app.http.post(f"{url}/nodes", json=body, headers=headers)).json()
    node = await app.finished(chain["id"], made["nodes"][0]["id"])
    assert node["status"] == "ready"
    await app.http.post(f"{url}/nodes/{node['id']}/commit")
    assert (await app.http.post(f"{url}/export", json={"format": "wav"})).status_code in (200, 202)
    assert (await app.http.post(f"{url}/nodes/{node['id']}/stems")).status_code == 202
    assert (await app.http.head(f"{url}/nodes/{node['id']}/audio")).status_code == 200
    assert (await app.http.get("/readyz")).status_code == 200
    assert (await app.http.get("/no/such/page")).status_code == 404
    await app.rest()
    return made


async def test_a_journey_is_measured() -> None:
    recorder = MemoryRecorder()
    async with running(
        {"mock": MockEngine()},
        separators={"mock": MockSeparator()},
        analyser=MockAnalyser(),
        recorder=recorder,
    ) as app:
        await journey(app)
        job_kinds = {"generate", "export", "stems", "analysis"}
        await until(lambda: len(recorder.of(catalog.JOBS_ENDED)) == len(job_kinds))
    for kind in job_kinds:
        assert recorder.of(catalog.JOBS_ENDED, kind=kind, outcome="succeeded", code="none") == [1]
        assert recorder.of(catalog.JOB_ATTEMPTS, kind=kind, outcome="done") == [1]
        assert len(recorder.of(catalog.JOB_QUEUE_WAIT, kind=kind)) == 1
        assert len(recorder.of(catalog.JOB_SECONDS, kind=kind, outcome="succeeded")) == 1
    assert len(recorder.of(catalog.JOB_FIRST_AUDIO, kind="generate")) == 1
    assert len(recorder.of(catalog.SEAM_LEVEL)) == 1
    stages = {dict(labels)["stage"] for labels, _ in recorder.samples[catalog.JOB_STAGE_SECONDS]}
    assert stages == {"prompt", "context", "generation", "audio", "encode", "store", "separation", "analysis"}
    assert recorder.of(catalog.JOBS_RUNNING)[-1] == 0
    assert recorder.of(catalog.STORAGE_READY) == [1]
    nodes = "/v1/chains/{chain_id}/nodes"
    assert recorder.of(catalog.HTTP_REQUESTS, method="POST", route=nodes, status="202") == [1]
    assert len(recorder.of(catalog.HTTP_SECONDS, method="HEAD", route=nodes + "/{node_id}/audio")) == 1
    assert recorder.of(catalog.HTTP_REQUESTS, route="none", status="404") == [1]
    opened = recorder.of(catalog.HTTP_OPEN, route=nodes)
    assert (max(opened), opened[-1]) == (1, 0)
    of_models = {metric for metric in catalog.METRICS if metric.where in ("models", "Generator")}
    elsewhere = {
        catalog.JOB_LEASE_LOSSES, catalog.JOB_TAKEOVERS, catalog.COLLECTED_OBJECTS, catalog.COLLECTED_BYTES,
        catalog.STORAGE_RETRIES, catalog.STORAGE_CONFLICTS,
        catalog.EVENT_LAG,  # nobody listens to this journey
    }  # fmt: skip
    assert set(catalog.METRICS) - set(recorder.seen().values()) - elsewhere == of_models


async def test_a_request_is_one_trace_from_its_client_to_the_storage(spans: InMemorySpanExporter) -> None:
    async with running({"mock": MockEngine()}, recorder=MemoryRecorder()) as app:
        made = await journey_of_a_take(app)
        job = await app.services.jobs.read("local", made["nodes"][0]["job_id"])
    assert job.origin["request_id"] == "take-1"
    found = {span.name: span for span in spans.get_finished_spans() if trace_of(span) == TRACE}
    asked, worked = found["POST /v1/chains/{chain_id}/nodes"], found["job generate"]
    assert job.origin["traceparent"].startswith(f"00-{TRACE}-{asked.context.span_id:016x}-")
    assert worked.parent is not None
    assert asked.context.span_id == worked.parent.span_id
    for stage in ("stage context", "stage generation"):
        assert found[stage].parent.span_id == worked.context.span_id
    assert {"storage get", "storage put"} <= found.keys()
    assert asked.attributes["http.response.status_code"] == 202
    ids = {
        "segue.tenant": "local",
        "segue.request_id": "take-1",
        "segue.chain_id": made["nodes"][0]["chain_id"],
    }
    for span in (asked, worked):
        assert ids.items() <= dict(span.attributes).items()


async def journey_of_a_take(app: Running) -> Mapping[str, Any]:
    chain = await app.upload(wav(tone(1.5)))
    answer = await app.http.post(
        f"/v1/chains/{chain['id']}/nodes",
        json={"parent_id": chain["root_id"], "duration_s": 0.5},
        headers={"traceparent": TRACEPARENT, "X-Request-ID": "take-1"},
    )
    made: dict[str, Any] = answer.json()
    await app.finished(chain["id"], made["nodes"][0]["id"])
    await app.rest()
    return made | {"nodes": [{**node, "chain_id": chain["id"]} for node in made["nodes"]]}


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


async def test_without_a_provider_there_are_no_spans_and_no_origin_but_the_request() -> None:
    async with running({"mock": MockEngine()}) as app:
        made = await journey_of_a_take(app)
        job = await app.services.jobs.read("local", made["nodes"][0]["job_id"])
    assert job.origin == {"request_id": "take-1"}


async def test_what_a_job_logs_names_it_and_its_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(JsonFormatter())
    with caplog.at_level(logging.INFO, "segue"):
        async with running({"mock": ScriptedEngine(fails_after=0)}) as app:
            made = await journey_of_a_take(app)
    lines = [json.loads(line) for line in caplog.text.splitlines() if line.startswith("{")]
    node = made["nodes"][0]
    ids = {
        "request_id": "take-1",
        "tenant": "local",
        "chain_id": node["chain_id"],
        "node_id": node["id"],
        "job_id": node["job_id"],
    }
    failed = [line for line in lines if line.get("logger") == "segue.jobs" and "failed" in line["message"]]
    assert failed
    assert all(ids.items() <= line.items() for line in failed)
    (asked,) = [
        line for record in caplog.records if record.name == "segue.access"
        and (line := json.loads(record.getMessage()))["request_id"] == "take-1"
    ]  # fmt: skip
    assert (asked["tenant"], asked["chain_id"]) == ("local", node["chain_id"])


def test_traces_that_nothing_can_send_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None
    )
    with pytest.raises(traces.TracesMissing, match=r"segue-server\[traces\]"):
        traces.configure_traces(TelemetrySettings(traces_url="http://127.0.0.1:4318/v1/traces"), "Ingress")
