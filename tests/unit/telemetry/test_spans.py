"""Spans of work, and of requests: which trace they are in, and which of them leave the process."""

from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from sluice_kit.telemetry import (
    Span,
    StageTracing,
    TraceParent,
    Tracing,
    in_memory_sink,
    new_context,
    parse_traceparent,
)
from sluice_kit.telemetry.request_spans import RequestSpan, RequestSpans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = TraceParent(TRACE, "00f067aa0ba902b7", sampled=True)
OTHER = TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)


def test_new_work_is_in_its_parent_s_trace_or_begins_one() -> None:
    child, root = new_context(CALLER, sampled=True), new_context()
    assert (child.trace_id, child.sampled) == (TRACE, True)
    assert child.span_id != CALLER.span_id
    assert root.trace_id != new_context().trace_id
    assert parse_traceparent(str(root)) == root


def test_a_root_moves_to_the_trace_it_joins() -> None:
    span = Span("work", new_context(sampled=True))
    own = span.context.span_id
    span.join(CALLER)
    assert (span.context.trace_id, span.context.span_id, span.parent) == (TRACE, own, CALLER)
    assert span.links == []


def test_a_root_that_finds_itself_in_a_trace_begins_it() -> None:
    span = Span("work", new_context(sampled=True))
    span.join(replace(span.context, trace_id=TRACE, sampled=False))
    assert (span.context.trace_id, span.context.sampled, span.parent, span.links) == (TRACE, True, None, [])


def test_a_span_that_has_a_parent_is_linked_to_what_it_joins() -> None:
    span = Span("work", new_context(CALLER, sampled=True), CALLER)
    span.begin_trace(OTHER.trace_id)
    for joined in (OTHER, CALLER, span.context, None):
        span.join(joined)
    assert (span.context.trace_id, span.parent, span.links) == (TRACE, CALLER, [OTHER])


def test_a_span_tells_of_failure() -> None:
    sink, exporter = in_memory_sink()
    with pytest.raises(ZeroDivisionError), Tracing("runner", sink=sink).span("verify", parent=CALLER):
        _ = 1 // 0
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ZeroDivisionError")
    assert span.context.trace_id == int(TRACE, 16)


def test_an_event_is_linked_to_its_batch() -> None:
    sink, exporter = in_memory_sink()
    tracing = StageTracing("gate", sink=sink)
    tracing.finished_batch(1, 2, {"sluice.events": 1})
    tracing.event("e1", str(CALLER), start_ns=1, end_ns=2)
    batch, event = exporter.get_finished_spans()
    assert [link.context.span_id for link in event.links] == [batch.context.span_id]
    assert event.context.trace_id == int(TRACE, 16)


def app(*, always: bool) -> tuple[FastAPI, InMemorySpanExporter]:
    sink, exporter = in_memory_sink()
    served = FastAPI()

    @served.post("/v1/things/{name}")
    async def make(name: str, span: RequestSpan) -> str:
        if name == "refused":
            raise HTTPException(409)
        if name == "crash":
            raise HTTPException(503)
        if name == "chosen":
            span.context = replace(span.context, sampled=True)
        return str(span.context)

    served.add_middleware(RequestSpans, tracing=Tracing("edge", sink=sink), always=always)
    return served, exporter


async def post(served: FastAPI, name: str, traceparent: str | None = None) -> httpx.Response:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://edge") as client:
        return await client.post(f"/v1/things/{name}", headers=headers)


async def test_a_request_goes_on_in_its_caller_s_trace_and_says_so() -> None:
    served, exporter = app(always=False)
    answer = await post(served, "any", str(CALLER))
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("POST /v1/things/{name}", SpanKind.SERVER)
    assert span.context.trace_id == int(TRACE, 16)
    assert span.parent is not None
    assert span.parent.span_id == int(CALLER.span_id, 16)
    carried = parse_traceparent(answer.headers["traceparent"])
    assert carried == TraceParent(TRACE, f"{span.context.span_id:016x}", sampled=True)
    assert answer.json() == str(carried)
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("given", [None, "garbage", str(replace(CALLER, sampled=False))])
async def test_a_request_nobody_samples_is_not_exported_but_answers_with_its_context(
    given: str | None,
) -> None:
    served, exporter = app(always=False)
    carried = parse_traceparent((await post(served, "any", given)).headers["traceparent"])
    assert carried is not None
    assert not carried.sampled
    assert exporter.get_finished_spans() == ()
    assert (await post(served, "chosen", given)).headers["traceparent"].endswith("-01")
    assert len(exporter.get_finished_spans()) == 1


async def test_refusals_carry_the_context_too_and_only_our_own_failures_are_errors() -> None:
    served, exporter = app(always=True)
    answers = [await post(served, name) for name in ("refused", "crash")]
    assert all(parse_traceparent(answer.headers["traceparent"]) for answer in answers)
    refused, crash = exporter.get_finished_spans()
    assert refused.status.status_code is StatusCode.OK
    assert (crash.status.status_code, crash.status.description) == (StatusCode.ERROR, "status 503")


async def test_reading_makes_no_span() -> None:
    served, exporter = app(always=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://edge") as client:
        answer = await client.get("/v1/things/any")
    assert "traceparent" not in answer.headers
    assert exporter.get_finished_spans() == ()
