"""Spans as a collector gets them: OTLP over HTTP, to a server of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from configs.settings import TelemetrySettings
from deployments.telemetry import traces
from deployments.telemetry.context import bound, carried, continued


class Collector(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.requests: list[ExportTraceServiceRequest] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"

    def spans(self) -> dict[str, Span]:
        return {
            span.name: span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


class Answer(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/x-protobuf"
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        traces.use(None)
        server.shutdown()
        thread.join()


def test_spans_of_two_processes_are_one_trace_at_the_collector(collector: Collector) -> None:
    traces.configure_traces(TelemetrySettings(traces_url=collector.url), "JobRunner")
    with bound(tenant="studio", job_id="j"), traces.span("job generate"):
        origin = carried()
        with traces.untraced(), traces.detail("storage get", key="k"):
            pass
    with continued(origin, "generate"), traces.detail("storage put", key="k"):
        pass
    traces.opened("segment", parent=origin["traceparent"], tenant="studio")()
    traces.use(None)
    (resource,) = {request.resource_spans[0].resource.SerializeToString() for request in collector.requests}
    assert b"JobRunner" in resource
    spans = collector.spans()
    assert set(spans) == {"job generate", "generate", "storage put", "segment"}
    assert len({span.trace_id for span in spans.values()}) == 1
    assert spans["generate"].parent_span_id == spans["job generate"].span_id
    assert spans["segment"].parent_span_id == spans["job generate"].span_id
    assert spans["storage put"].parent_span_id == spans["generate"].span_id
    given = {each.key: each.value.string_value for each in spans["generate"].attributes}
    assert given == {"segue.tenant": "studio", "segue.job_id": "j"}


def test_nothing_is_sent_of_requests_that_are_not_sampled(collector: Collector) -> None:
    traces.configure_traces(TelemetrySettings(traces_url=collector.url, traces_ratio=0.0), "Ingress")
    with traces.span("GET"), traces.detail("storage get", key="k"):
        pass
    traces.use(None)
    assert collector.spans() == {}
