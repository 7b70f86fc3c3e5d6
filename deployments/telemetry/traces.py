"""OpenTelemetry traces, where they are configured (`telemetry.traces_url`); otherwise nothing happens here.

A request is one trace: the ingress, the job in the runner (its record carries the parent, so that it survives the
runner), each stage, the model's replica, and the operations of the store. Needs the extra `traces`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from configs.settings import TelemetrySettings

SERVICE: Final = "segue"


class TracesMissing(ValueError):
    """Traces are configured, and what sends them is not installed."""


_tracer: Any = None
"""OpenTelemetry's tracer of this process; None: nothing is traced."""

_provider: Any = None


def configure_traces(settings: TelemetrySettings, deployment: str) -> None:
    """Send this process's spans to `settings.traces_url` by OTLP over HTTP; again is no change.

    Raises TracesMissing.
    """
    if settings.traces_url is None or _tracer is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise TracesMissing(
            "telemetry.traces_url is set, and OpenTelemetry's exporter is not installed: "
            'pip install "segue-server[traces]"'
        ) from error
    provider = TracerProvider(
        resource=Resource.create({"service.name": SERVICE, "service.namespace": deployment}),
        sampler=ParentBased(TraceIdRatioBased(settings.traces_ratio)),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.traces_url)))
    use(provider)


def use(provider: Any) -> None:
    """Take spans from an OpenTelemetry provider; None: no more spans. Those of the one before are sent first."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = provider
    _tracer = provider.get_tracer(SERVICE) if provider is not None else None


@contextmanager
def span(name: str, *, parent: str | None = None, **attributes: str) -> Iterator[None]:
    """A span around what follows, below the current one, or below `parent` (a W3C traceparent)."""
    if _tracer is None:
        yield
        return
    context = _context_of(parent) if parent is not None else None
    with _tracer.start_as_current_span(name, context=context, attributes=attributes):
        yield


def opened(name: str, *, parent: str | None, **ids: str) -> Callable[[], None]:
    """A span below `parent` that is current nowhere, with `ids` as `describe` has them; returns what ends it."""
    if _tracer is None:
        return _nothing
    attributes = {f"{SERVICE}.{key}": value for key, value in ids.items()}
    context = _context_of(parent) if parent is not None else None
    end: Callable[[], None] = _tracer.start_span(name, context=context, attributes=attributes).end
    return end


def _nothing() -> None:
    pass


@contextmanager
def detail(name: str, **attributes: str) -> Iterator[None]:
    """A span only where it is part of a trace already."""
    if _tracer is None or traceparent() is None:
        yield
        return
    with span(name, **attributes):
        yield


@contextmanager
def untraced() -> Iterator[None]:
    """No spans in what follows: for polling, which would fill a trace with nothing."""
    if _tracer is None:
        yield
        return
    from opentelemetry import context, trace

    token = context.attach(trace.set_span_in_context(trace.INVALID_SPAN))
    try:
        yield
    finally:
        context.detach(token)


def describe(**attributes: str) -> None:
    """Add attributes to the current span, under `segue.`."""
    if _tracer is None:
        return
    from opentelemetry import trace

    current = trace.get_current_span()
    for name, value in attributes.items():
        current.set_attribute(f"{SERVICE}.{name}", value)


def answered(method: str, route: str, status: int) -> None:
    """Name the current span after the request that it answers, in the terms of OpenTelemetry's conventions."""
    if _tracer is None:
        return
    from opentelemetry import trace

    current = trace.get_current_span()
    current.update_name(f"{method} {route}")
    current.set_attribute("http.request.method", method)
    current.set_attribute("http.route", route)
    current.set_attribute("http.response.status_code", status)
    if status >= 500:
        current.set_status(trace.StatusCode.ERROR)


def traceparent() -> str | None:
    """The current span as a W3C traceparent; None where nothing is traced."""
    if _tracer is None:
        return None
    from opentelemetry import trace

    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"


def _context_of(parent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})
