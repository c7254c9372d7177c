"""Logs, metrics, traces and health: what a running service tells the people who operate it."""

from sluice_kit.telemetry.health import Check, Health, HealthReport, HealthState, SelfReported
from sluice_kit.telemetry.logs import bind_context, clear_context, configure_logging, get_logger
from sluice_kit.telemetry.metrics import MetricFamilies, ServiceMetrics
from sluice_kit.telemetry.redaction import forget_secrets, redact, redact_text, register_secret
from sluice_kit.telemetry.sampling import EventSampler
from sluice_kit.telemetry.span_sinks import SpanSink, in_memory_sink, sink_from
from sluice_kit.telemetry.spans import Span, Tracing
from sluice_kit.telemetry.traceparent import (
    TraceParent,
    new_context,
    parse_traceparent,
    span_id_for,
    trace_id_for,
    traceparent_for,
)
from sluice_kit.telemetry.traces import StageTracing

__all__ = [
    "Check",
    "EventSampler",
    "Health",
    "HealthReport",
    "HealthState",
    "MetricFamilies",
    "SelfReported",
    "ServiceMetrics",
    "Span",
    "SpanSink",
    "StageTracing",
    "TraceParent",
    "Tracing",
    "bind_context",
    "clear_context",
    "configure_logging",
    "forget_secrets",
    "get_logger",
    "in_memory_sink",
    "new_context",
    "parse_traceparent",
    "redact",
    "redact_text",
    "register_secret",
    "sink_from",
    "span_id_for",
    "trace_id_for",
    "traceparent_for",
]
