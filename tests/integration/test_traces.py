"""One trace from where work begins to what the gate makes of it: all services export to one collector."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sluice_fleet import Fleet
from sluice_kit.config import Wiring
from sluice_kit.telemetry import TraceParent, new_context, parse_traceparent, span_id_for, trace_id_for
from sluice_kit.testing.waiting import until
from sluice_oracle import World
from sluice_substrate import LocalStack
from tests.integration.builders import make_world, posted_payment, streamed_rows
from tests.integration.fleets import apply_policy, client, running
from tests.integration.otlp_collector import Collector, Seen, collecting

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
RUNNER, PRODUCER, EDGE, GATE = "scenario_runner", "world_stream_producer", "ingest_edge", "ingestion_gate"
ROWS = 300


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as (running, endpoint), pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLUICE_TELEMETRY__OTLP_ENDPOINT", endpoint)
        environment.setenv("SLUICE_TELEMETRY__TRACE_RATIO", "1")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        environment.setenv("SLUICE_EDGE_WAIT_SECONDS", "30")
        yield running


@pytest.fixture(scope="module")
def fleet(
    stack: LocalStack, wiring_file: Path, collector: Collector, topics_applied: None
) -> Iterator[Fleet]:
    with running(stack, GATE, RUNNER, PRODUCER, EDGE) as started:
        apply_policy(wiring_file)
        yield started


@pytest.fixture(scope="module")
def world(wiring: Wiring, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(wiring, tmp_path_factory.mktemp("engine") / "world", seed=23, events=ROWS)


def only(spans: list[Seen]) -> Seen:
    assert len(spans) == 1, spans
    return spans[0]


def of_event(spans: list[Seen], event_id: str) -> list[Seen]:
    return [span for span in spans if span.attributes.get("sluice.event_id") == event_id]


def ready_of(collector: Collector, trace_id: str) -> str | None:
    """The id of the READY that was sent in a trace."""
    sent = collector.spans(trace_id, name="send ingress.scenario_runner")
    return str(only(sent).attributes["sluice.event_id"]) if sent else None


@pytest.mark.parametrize("caller", [new_context(sampled=True), None], ids=["in a trace", "alone"])
def test_a_trace_goes_from_a_post_to_the_gate_s_batch(
    fleet: Fleet, wiring: Wiring, collector: Collector, caller: TraceParent | None
) -> None:
    event = posted_payment()
    with client(fleet, wiring, EDGE, "partner_acme") as edge:
        headers = {} if caller is None else {"traceparent": str(caller)}
        answer = edge.post("/v1/events", json=event, headers=headers)
    assert answer.status_code == 201, answer.text
    answered = parse_traceparent(answer.headers["traceparent"])
    assert answered is not None
    trace_id = answered.trace_id
    assert trace_id == (trace_id_for(event["event_id"]) if caller is None else caller.trace_id)

    (posted,) = collector.wait_for(1, trace_id, service=EDGE)
    (decided,) = collector.wait_for(1, trace_id, service=GATE)
    assert (posted.name, posted.span_id) == ("POST /v1/events", answered.span_id)
    assert posted.parent_id == (None if caller is None else caller.span_id)
    assert posted.attributes["http.response.status_code"] == 201
    assert decided.attributes["sluice.event_id"] == event["event_id"]
    assert decided.parent_id == posted.span_id
    ((_, batch_id),) = decided.links
    batch = only([span for span in collector.spans(service=GATE) if span.span_id == batch_id])
    assert batch.name == f"{GATE} batch"


def submit(runner: httpx.Client, world: World, **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    if caller := body.pop("caller", None):
        headers["traceparent"] = str(caller)
    answer = runner.post("/v1/runs", json={"world": {"uri": world.uri}} | body, headers=headers)
    assert answer.status_code in {200, 202}, answer.text
    return answer


def test_a_run_is_one_trace_from_its_submission_to_its_events_at_the_gate(
    fleet: Fleet, wiring: Wiring, collector: Collector, world: World
) -> None:
    with client(fleet, wiring, RUNNER, "operator") as runner:
        run = submit(runner, world).json()
    run_id, trace_id = run["run_id"], run["trace_id"]
    assert trace_id == trace_id_for(run_id)
    ready_id = until(lambda: ready_of(collector, trace_id), "READY on its lane")
    consumed_id = span_id_for(ready_id, PRODUCER)  # what every event of the stream names as its parent
    rows = sum(streamed_rows(world).values())
    events = collector.wait_for(rows, trace_id, service=GATE, parent_id=consumed_id)
    (streamed,) = collector.wait_for(1, trace_id, name="stream run")
    trace = collector.spans(trace_id)

    submitted = only(collector.spans(trace_id, name="POST /v1/runs"))
    verified = only(collector.spans(trace_id, name="verify run"))
    assert (submitted.parent_id, verified.parent_id) == (None, submitted.span_id)
    assert verified.span_id == span_id_for(run_id, "scenario_runner verify")
    assert verified.attributes["sluice.state"] == "READY"
    about_ready = of_event(trace, ready_id)
    assert {span.service for span in about_ready} == {RUNNER, GATE, PRODUCER}
    assert {span.parent_id for span in about_ready} == {verified.span_id}

    consumed = only([span for span in about_ready if span.service == PRODUCER])
    assert streamed.parent_id == consumed.span_id == consumed_id
    batches = collector.spans(trace_id, name="send ingress.world_stream_producer")
    assert {batch.parent_id for batch in batches} == {streamed.span_id}
    assert sum(batch.attributes["messaging.batch.message_count"] for batch in batches) == rows
    gate_batches = {span.span_id for span in collector.spans(service=GATE, name=f"{GATE} batch")}
    assert all(event.links for event in events)
    assert {span_id for event in events for _, span_id in event.links} <= gate_batches
    known = {span.span_id for span in trace}
    assert all(span.parent_id in known for span in trace if span is not submitted), "a parent is nowhere"


def test_a_run_goes_on_in_the_trace_of_who_submitted_it_first(
    fleet: Fleet, wiring: Wiring, collector: Collector, world: World
) -> None:
    first, later = new_context(sampled=True), new_context(sampled=True)
    with client(fleet, wiring, RUNNER, "operator") as runner:
        made = submit(runner, world, traffic_delivery_mode="pull", caller=first)
        again = submit(runner, world, traffic_delivery_mode="pull", caller=later)
    assert made.json()["trace_id"] == again.json()["trace_id"] == first.trace_id
    run_id = made.json()["run_id"]
    submitted = parse_traceparent(made.headers["traceparent"])
    assert submitted is not None
    (verified,) = collector.wait_for(1, first.trace_id, name="verify run")
    assert verified.parent_id == submitted.span_id
    (repeated,) = collector.wait_for(1, later.trace_id, service=RUNNER)
    assert repeated.parent_id == later.span_id
    assert repeated.links == ((first.trace_id, submitted.span_id),)
    with client(fleet, wiring, RUNNER, "operator") as runner:
        until(lambda: runner.get(f"/v1/runs/{run_id}").json()["ready_admitted"], "READY to be admitted")
        closed = runner.post(
            f"/v1/runs/{run_id}/close",
            json={"reason": "done"},
            headers={"Idempotency-Key": uuid.uuid4().hex, "traceparent": str(later)},
        )
    assert closed.status_code == 200, closed.text
    (closing,) = collector.wait_for(1, first.trace_id, name="close run")
    collector.wait_for(1, first.trace_id, service=GATE, parent_id=closing.span_id)
