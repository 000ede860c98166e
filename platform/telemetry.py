"""Traces: how spans are made, sampled and exported, and how W3C trace context comes in and goes out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from random import getrandbits
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from little_monster.platform.settings import TelemetrySettings

_propagator = TraceContextTextMapPropagator()


def setup_telemetry(settings: TelemetrySettings, service: str) -> None:
    """Give this process a tracer provider that exports, if there is an endpoint, and once: a second call, or
    a provider of the host's, changes nothing.

    Without one a span is only its ids, which are in logs and headers all the same.
    """
    if not settings.otlp_endpoint or _records():
        return
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: f"little-monster-{service}"}),
        sampler=ParentBasedTraceIdRatio(settings.trace_ratio),
    )
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


@cache
def tracer() -> Tracer:
    """Return the tracer of this project; asked for once, as asking costs more than a span does."""
    return trace.get_tracer("little_monster")


@contextmanager
def server_span(name: str, headers: Mapping[str, str]) -> Iterator[Span]:
    """Make the span of a request, as a child of the caller's when `headers` carry a `traceparent`.

    What an exception says stays out of the span, as it may quote what a user wrote.
    """
    parent = _propagator.extract(headers) if "traceparent" in headers else Context()
    span = tracer().start_span(name, parent, SpanKind.SERVER) if _records() else _ids(parent)
    token = attach(trace.set_span_in_context(span, parent))
    try:
        yield span
    finally:
        detach(token)
        span.end()


def _records() -> bool:
    return isinstance(trace.get_tracer_provider(), TracerProvider)


def _ids(parent: Context) -> Span:
    """Return a span that costs little and is never read: the caller's trace, or a new one, and its own id."""
    caller = trace.get_current_span(parent).get_span_context()
    return NonRecordingSpan(
        SpanContext(
            caller.trace_id or getrandbits(128),
            getrandbits(64),
            is_remote=False,
            trace_flags=caller.trace_flags,
            trace_state=caller.trace_state,
        )
    )


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Make a span inside of the current one."""
    with tracer().start_as_current_span(name, attributes=attributes, record_exception=False) as made:
        yield made


def trace_headers(span: Span) -> dict[str, str]:
    """Return the `traceparent` (and `tracestate`) that hands a span on; empty for one without ids."""
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    state = context.trace_state.to_header() if context.trace_state else ""
    return {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}


def trace_id_of(span: Span) -> str:
    """Return the trace's id as 32 hex digits, empty when there is none."""
    context = span.get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else ""
