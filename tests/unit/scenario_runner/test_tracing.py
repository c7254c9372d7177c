"""READY and the closing stand in the trace of the submission that the ledger holds, with derived span ids."""

from typing import Any

from services.scenario_runner.core import Ref, RunState
from services.scenario_runner.documents import (
    closed_fields,
    ready_fields,
    record_document,
    status_document,
    step_context,
)
from sluice_contracts import check
from sluice_kit.telemetry import parse_traceparent, span_id_for, trace_id_for

SUBMITTED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REF = Ref("artifact://sr/x", "sha256", "0" * 64, 1)
VIEW: dict[str, Any] = {
    "run_id": "run-1",
    "tenant": "default",
    "scenario_id": "plain",
    "manifest_fingerprint": "0" * 64,
    "parameter_hash": "0" * 64,
    "seed": 1,
    "equivalence_key": "1" * 64,
    "traffic_delivery_mode": "push",
    "oracle_engine": "plain",
    "required_gates": ["g"],
    "streamed_outputs": ["o"],
    "expected_events": 3,
}


def test_each_step_has_a_span_of_its_own_that_every_instance_derives() -> None:
    ready = ready_fields(VIEW, REF, 1_000, SUBMITTED)
    closed = closed_fields(VIEW, "done", 2_000, SUBMITTED)
    assert check(ready) == check(closed) == ()
    contexts = [parse_traceparent(fields["traceparent"]) for fields in (ready, closed)]
    assert contexts == [step_context("run-1", step, SUBMITTED) for step in ("verify", "close")]
    for context, step in zip(contexts, ("verify", "close"), strict=True):
        assert context is not None
        assert (context.trace_id, context.sampled) == (SUBMITTED[3:35], True)
        assert context.span_id == span_id_for("run-1", f"scenario_runner {step}")


def test_the_status_keeps_the_submission_s_context_and_an_old_ledger_stays_as_it_was() -> None:
    record = record_document("run-1", 1, RunState.PLANNED, 1_000, {"traceparent": SUBMITTED})
    assert status_document(record, REF, REF, None)["traceparent"] == SUBMITTED
    old = record_document("run-1", 1, RunState.PLANNED, 1_000, {})
    assert "traceparent" not in status_document(old, REF, REF, None)
    assert ready_fields(VIEW, REF, 1_000)["traceparent"] is None
    assert closed_fields(VIEW, "done", 1_000)["traceparent"] is None
    assert step_context("run-1", "verify", None).trace_id == trace_id_for("run-1")
