"""Which trace a request and its events are in, and which requests are exported."""

from typing import Any

import orjson

from services.ingest_edge.core import Framed, Submission, frame
from services.ingest_edge.tracing import events_known, request_trace
from sluice_contracts import Decoded, decode
from sluice_kit.telemetry import EventSampler, Span, TraceParent, new_context, parse_traceparent, trace_id_for

CALLER = TraceParent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=False)
OWN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NEVER, ALWAYS = EventSampler(0.0), EventSampler(1.0)


def event(event_id: str, **changes: Any) -> bytes:
    payload = {
        "payment_id": event_id,
        "customer_id": "c-1",
        "terminal_id": "t-1",
        "amount_minor": 1999,
        "currency": "EUR",
    }
    found = {
        "event_id": event_id,
        "event_type": "payment",
        "ts_utc": "2026-01-31T12:00:00Z",
        "payload": payload,
    }
    return orjson.dumps(found | changes)


def request(
    *lines: bytes, caller: TraceParent | None = None, sampler: EventSampler = NEVER, batch: bool = False
) -> tuple[Span, list[TraceParent]]:
    """The span of a request, and the context that each of its events stands on the lane with."""
    span = Span("POST", new_context(caller), caller)
    submission = Submission(
        principal="partner_acme",
        now=0,
        idempotency_key=None,
        batch=batch,
        max_event_bytes=10_000,
        trace=request_trace(span, sampler),
    )
    framed = [frame(line, number, submission) for number, line in enumerate(lines, 1)]
    good = [item for item in framed if isinstance(item, Framed)]
    assert len(good) == len(lines)
    events_known(span, good, sampler, principal="partner_acme")
    carried = []
    for item in good:
        decoded = decode(item.value)
        assert isinstance(decoded, Decoded)
        context = parse_traceparent(decoded.fields["traceparent"])
        assert context is not None
        carried.append(context)
    return span, carried


def test_an_event_carries_the_span_of_its_request_in_the_caller_s_trace() -> None:
    span, (carried,) = request(event("e1"), caller=CALLER)
    assert span.context.trace_id == CALLER.trace_id
    assert carried == span.context
    assert span.attributes["sluice.event_id"] == "e1"


def test_without_a_caller_the_event_s_id_names_the_trace_so_that_retries_share_it() -> None:
    (first, (one,)), (again, (two,)) = (request(event("e1")) for _ in range(2))
    assert one.trace_id == two.trace_id == first.context.trace_id == trace_id_for("e1")
    assert first.context.span_id == one.span_id != two.span_id == again.context.span_id


def test_a_batch_is_one_span_and_its_events_are_its_children() -> None:
    span, carried = request(event("e1"), event("e2"), batch=True)
    assert {context.trace_id for context in carried} == {span.context.trace_id}
    assert {context.span_id for context in carried} == {span.context.span_id}
    assert span.attributes["sluice.events"] == 2


def test_a_request_is_exported_when_one_of_its_events_is_sampled_or_its_caller_is() -> None:
    half = EventSampler(0.5)
    ids = [f"e{number}" for number in range(20)]
    span, carried = request(*map(event, ids), sampler=half, batch=True)
    assert span.context.sampled
    assert [context.sampled for context in carried] == [half.selects(event_id) for event_id in ids]
    assert not request(event("e1"))[0].context.sampled
    assert request(event("e1"), sampler=ALWAYS)[0].context.sampled
    sampled_caller = TraceParent(CALLER.trace_id, CALLER.span_id, sampled=True)
    span = Span("POST", new_context(sampled_caller, sampled=True), sampled_caller)
    events_known(span, [], NEVER, principal="partner_acme")
    assert span.context.sampled


def test_an_event_keeps_the_context_it_brings_and_the_request_continues_it() -> None:
    span, (carried,) = request(event("e1", traceparent=OWN))
    assert str(carried) == OWN
    assert span.context.trace_id == carried.trace_id
    assert span.parent == carried


def test_events_that_bring_several_contexts_are_linked() -> None:
    other = OWN.replace("0af7", "1af7")
    lines = [event("e1", traceparent=OWN), event("e2", traceparent=other), event("e3")]
    span, carried = request(*lines, batch=True)
    assert [str(context) for context in carried[:2]] == [OWN, other]
    assert carried[2] == span.context
    assert span.parent is None
    assert [str(link) for link in span.links] == [OWN, other]
