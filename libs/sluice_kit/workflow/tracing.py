"""Spans of a workflow's inbox and outbox: made after the commit, in the trace that the envelope carries.

A record gets a span when its context says that its trace is sampled, or when the sampler selects it as in
every stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeGuard

from opentelemetry.trace import SpanKind

from sluice_contracts import Decoded, DecodeFailure, decode
from sluice_kit.telemetry import Span, StageTracing, new_context, parse_traceparent

if TYPE_CHECKING:
    from sluice_kit.workflow.inbox import Inbound
    from sluice_kit.workflow.outbox import OutboxEvent

_DESTINATION: Final = "messaging.destination.name"


def batch_applied(
    tracing: StageTracing, records: Sequence[Inbound], start_ns: int, end_ns: int, error: str | None = None
) -> None:
    """Record a batch of one partition; once it is applied, also each sampled record, child of its context."""
    if not tracing.enabled:
        return
    tracing.finished_batch(
        start_ns, end_ns, {"sluice.events": len(records), _DESTINATION: records[0].topic}, error
    )
    if error is not None:
        return
    for record in records:
        if _is_sampled(record.content, tracing):
            fields = record.content.fields
            tracing.event(fields["event_id"], fields["traceparent"], start_ns=start_ns, end_ns=end_ns)


def events_sent(tracing: StageTracing, events: Sequence[OutboxEvent], start_ns: int, end_ns: int) -> None:
    """Record each sampled event that its lane acknowledged, as a child of the context that it carries."""
    if not tracing.enabled:
        return
    for event in events:
        content = decode(event.value)
        if not _is_sampled(content, tracing):
            continue
        parent = parse_traceparent(content.fields["traceparent"])
        span = Span(f"send {event.lane}", new_context(parent, sampled=True), parent, SpanKind.PRODUCER)
        span.attributes |= {"sluice.event_id": content.fields["event_id"], _DESTINATION: event.lane}
        span.start_ns = start_ns
        tracing.record(span, end_ns)


def _is_sampled(content: Decoded | DecodeFailure, tracing: StageTracing) -> TypeGuard[Decoded]:
    if not isinstance(content, Decoded):
        return False
    context = parse_traceparent(content.fields["traceparent"])
    return (context is not None and context.sampled) or tracing.sampler.selects(content.fields["event_id"])
