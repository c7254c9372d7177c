import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

from sluice_kit.telemetry import (
    EventSampler,
    StageTracing,
    TraceParent,
    in_memory_sink,
    parse_traceparent,
    sink_from,
    span_id_for,
    trace_id_for,
    traceparent_for,
)

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_span_ids_are_derived_from_event_and_stage() -> None:
    expected = hashlib.sha256(b"e1\ningestion_gate").digest()[:8].hex()
    assert span_id_for("e1", "ingestion_gate") == expected
    assert span_id_for("e1", "flow_meter") != expected


def test_the_trace_continues_the_incoming_one_or_starts_from_the_event_id() -> None:
    assert trace_id_for("e1", PARENT) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace_id_for("e1") == hashlib.sha256(b"e1").hexdigest()[:32]
    assert trace_id_for("e1", "garbage") == trace_id_for("e1")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "garbage",
        PARENT.upper(),
        PARENT + "-extra",
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_an_invalid_traceparent_is_none(text: str | None) -> None:
    assert parse_traceparent(text) is None


def test_a_later_version_is_read_by_its_known_part() -> None:
    assert parse_traceparent("01" + PARENT[2:] + "-future") == TraceParent(
        PARENT[3:35], PARENT[36:52], sampled=True
    )


@given(st.text(), st.sampled_from(["gate", "meter"]), st.booleans())
def test_what_we_write_we_can_read(event_id: str, stage: str, sampled: bool) -> None:
    written = traceparent_for(event_id, stage, sampled=sampled)
    parsed = parse_traceparent(written)
    assert parsed is not None
    assert str(parsed) == written
    assert parsed.sampled is sampled


def _ids(count: int) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]


def test_sampling_is_a_property_of_the_event_id() -> None:
    ids = _ids(200_000)
    chosen = EventSampler(0.001).positions(ids)
    assert 130 <= len(chosen) <= 270
    assert all(EventSampler(0.001).selects(ids[index]) for index in chosen)
    assert EventSampler(1.0).positions(ids[:10]) == list(range(10))
    assert EventSampler(0.0).positions(ids) == []
    with pytest.raises(ValueError, match=r"0\.\.1"):
        EventSampler(2)


def test_default_tracing_costs_less_than_a_microsecond_an_event() -> None:
    sink, _ = in_memory_sink()
    tracing = StageTracing("gate", sink=sink)
    ids = _ids(50_000)
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        with tracing.batch({"events": len(ids)}):
            for index in tracing.sampled(ids):
                tracing.event(ids[index], None, start_ns=1, end_ns=2)
        best = min(best, (time.process_time() - begin) / len(ids))
    assert best < 1e-6, f"{best * 1e9:.0f} ns an event"


def test_spans_of_two_stages_form_one_trace() -> None:
    sink, exporter = in_memory_sink()
    StageTracing("gate", sink=sink).event("e1", PARENT, start_ns=10, end_ns=20, attributes={"run_id": "r"})
    onward = traceparent_for("e1", "gate", PARENT, sampled=True)
    StageTracing("meter", sink=sink).event("e2", onward, start_ns=30, end_ns=40, links=[PARENT, "garbage"])
    gate, meter = exporter.get_finished_spans()
    assert gate.context.trace_id == meter.context.trace_id == int(PARENT[3:35], 16)
    assert gate.parent is not None
    assert gate.parent.span_id == int(PARENT[36:52], 16)
    assert meter.parent is not None
    assert meter.parent.span_id == gate.context.span_id == int(span_id_for("e1", "gate"), 16)
    assert gate.attributes == {"sluice.event_id": "e1", "run_id": "r"}
    assert len(meter.links) == 1


def test_a_batch_span_tells_of_failure() -> None:
    sink, exporter = in_memory_sink()
    tracing = StageTracing("gate", sink=sink)
    with pytest.raises(ZeroDivisionError), tracing.batch():
        _ = 1 // 0
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.name == "gate batch"


def test_without_an_endpoint_nothing_is_sampled_or_kept() -> None:
    assert sink_from(None) is None
    assert sink_from("") is None
    tracing = StageTracing("gate", sampler=EventSampler(1.0))
    assert not tracing.enabled
    assert tracing.sampled(["e1"]) == []
    with tracing.batch():
        tracing.event("e1", None, start_ns=1, end_ns=2)
    tracing.close()


def test_spans_reach_an_otlp_http_endpoint() -> None:
    bodies: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            del args

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        tracing = StageTracing("gate", sink=sink_from(f"http://127.0.0.1:{server.server_port}"))
        tracing.event("e1", None, start_ns=1, end_ns=2)
        tracing.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert [path for path, _ in bodies] == ["/v1/traces"]
    assert b"sluice.event_id" in bodies[0][1]
    assert json.dumps("gate").strip('"').encode() in bodies[0][1]
