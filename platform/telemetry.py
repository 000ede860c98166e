"""Traces: how spans are made, sampled and exported, and how W3C trace context comes in and goes out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from little_monster.platform.settings import TelemetrySettings

_propagator = TraceContextTextMapPropagator()
# Asked for once, as asking costs more than a span does; it finds the provider that is set later.
_tracer = trace.get_tracer("little_monster")


def setup_telemetry(settings: TelemetrySettings, service: str) -> None:
    """Give this process a tracer provider, once: a second call, or a provider of the host's, changes nothing.

    Spans are always made, so that trace ids are in logs and headers; they are exported when there is an
    endpoint.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: f"little-monster-{service}"}),
        sampler=ParentBasedTraceIdRatio(settings.trace_ratio),
    )
    if settings.otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def tracer() -> Tracer:
    """Return the tracer of this project."""
    return _tracer


@contextmanager
def server_span(name: str, headers: Mapping[str, str]) -> Iterator[Span]:
    """Make the span of a request, as a child of the caller's when `headers` carry a `traceparent`.

    What an exception says stays out of the span, as it may quote what a user wrote.
    """
    parent = _propagator.extract(headers)
    with tracer().start_as_current_span(
        name, context=parent, kind=SpanKind.SERVER, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Make a span inside of the current one."""
    with tracer().start_as_current_span(name, attributes=attributes, record_exception=False) as made:
        yield made


def trace_headers() -> dict[str, str]:
    """Return the `traceparent` (and `tracestate`) that hands the current span on; empty outside of one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def trace_id_of(span: Span) -> str:
    """Return the trace's id as 32 hex digits, empty when there is none."""
    context = span.get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else ""
