"""The documents of the run ledger and the events about a run, made from values. Pure.

Only a run record carries a time and the trace of the submission, and it is sealed once: everything else
follows from it, so that two instances that do the same work write the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from services.scenario_runner.core import OutputFacts, Ref, RunPlan, RunState, WorldFacts
from services.scenario_runner.verification import FAIL, PASS, Check
from sluice_contracts import derived_id
from sluice_kit.telemetry import TraceParent, parse_traceparent, span_id_for, trace_id_for

FORMAT_VERSION: Final = 1
SERVICE: Final = "scenario_runner"
VERIFY: Final = "verify"
CLOSE: Final = "close"
Document = dict[str, Any]


def plan_document(plan: RunPlan) -> Document:
    """run_plan: what the run was asked to be."""
    document = {"format_version": FORMAT_VERSION, **asdict(plan)}
    document["reuse_evidence"] = plan.reuse_evidence.to_fields() if plan.reuse_evidence else None
    return document


def plan_from(document: Mapping[str, Any]) -> RunPlan:
    """Read a run_plan back. Raises KeyError or TypeError when it is not one."""
    fields = {name: document[name] for name in RunPlan.__dataclass_fields__}
    fields["streamed_outputs"] = tuple(fields["streamed_outputs"])
    fields["required_gates"] = tuple(fields["required_gates"])
    fields["reuse_evidence"] = Ref.from_fields(fields["reuse_evidence"]) if fields["reuse_evidence"] else None
    return RunPlan(**fields)


def receipt_document(plan: RunPlan, checks: Sequence[Check], policy_revision: str) -> Document:
    """The verifier's receipt: PASS when every check passed. The engine's gates have receipts of their own."""
    passed = all(check.passed for check in checks)
    return {
        "format_version": FORMAT_VERSION,
        "verifier": SERVICE,
        "policy_revision": policy_revision,
        "run_id": plan.run_id,
        "manifest_fingerprint": plan.manifest_fingerprint,
        "world_uri": plan.world_uri,
        "verdict": PASS if passed else FAIL,
        "verified_outputs": list(plan.streamed_outputs) if passed else [],
        "reused_evidence": plan.reuse_evidence.to_fields() if plan.reuse_evidence else None,
        "checks": [asdict(check) for check in checks],
    }


def reasons_of(receipt: Mapping[str, Any]) -> list[str]:
    """Why a receipt is not a PASS, in its own words."""
    return [check["detail"] for check in receipt["checks"] if not check["passed"]]


def facts_view_document(plan: RunPlan, world: WorldFacts, receipt: Ref) -> Document:
    """run_facts_view: everything of the run that may be read, by reference, and the proof that it may.

    Outputs without a PASS on them are named under ``withheld`` and have no locators.
    """
    open_outputs = set(_passed_outputs(world))
    return {
        "format_version": FORMAT_VERSION,
        "tenant": plan.tenant,
        "run_id": plan.run_id,
        "scenario_id": plan.scenario_id,
        "manifest_fingerprint": world.manifest_fingerprint,
        "parameter_hash": world.parameter_hash,
        "seed": world.seed,
        "equivalence_key": plan.equivalence_key,
        "oracle_engine": world.engine,
        "world": world.manifest.to_fields(),
        "traffic_delivery_mode": plan.traffic_delivery_mode,
        "streamed_outputs": list(plan.streamed_outputs),
        "required_gates": list(plan.required_gates),
        "expected_events": expected_events(plan, world),
        "outputs": [_output(output) for output in world.outputs if output.output_id in open_outputs],
        "withheld": sorted(
            output.output_id for output in world.outputs if output.output_id not in open_outputs
        ),
        "gates": [
            {
                "gate_id": gate.gate_id,
                "verdict": gate.verdict,
                "output_ids": list(gate.output_ids),
                "receipt": gate.receipt.to_fields(),
            }
            for gate in world.gates
        ],
        "verifier_receipt": receipt.to_fields(),
    }


def _passed_outputs(world: WorldFacts) -> list[str]:
    verdicts: dict[str, set[str]] = {}
    for gate in world.gates:
        for output_id in gate.output_ids:
            verdicts.setdefault(output_id, set()).add(gate.verdict)
    return [output_id for output_id, seen in verdicts.items() if seen == {PASS}]


def _output(output: OutputFacts) -> Document:
    return {
        "output_id": output.output_id,
        "role": output.role,
        "event_type": output.event_type,
        "primary_key": output.primary_key,
        "schema_version": output.schema_version,
        "rows": output.rows,
        "files": [
            {
                **file.ref.to_fields(),
                "rows": file.rows,
                "min_ts_utc": file.min_ts_utc,
                "max_ts_utc": file.max_ts_utc,
            }
            for file in output.files
        ],
    }


def expected_events(plan: RunPlan, world: WorldFacts) -> int:
    """How many traffic events the run holds."""
    return sum(output.rows for output in world.outputs if output.output_id in plan.streamed_outputs)


def record_document(
    run_id: str, number: int, state: RunState, at_utc: int, detail: Mapping[str, Any]
) -> Document:
    """run_record: one entry of what happened, numbered from 1. ``at_utc`` is microseconds UTC."""
    return {
        "format_version": FORMAT_VERSION,
        "run_id": run_id,
        "number": number,
        "state": state.value,
        "at_utc": at_utc,
        "detail": dict(detail),
    }


def status_document(
    record: Mapping[str, Any], record_ref: Ref, plan_ref: Ref, previous: Ref | None
) -> Document:
    """run_status: one revision a transition, chained to the one before by its digest."""
    detail = record["detail"]
    status = {
        "format_version": FORMAT_VERSION,
        "run_id": record["run_id"],
        "revision": record["number"],
        "state": record["state"],
        "at_utc": record["at_utc"],
        "reasons": detail.get("reasons", []),
        "plan": plan_ref.to_fields(),
        "record": record_ref.to_fields(),
        "previous": previous.to_fields() if previous else None,
        "verifier_receipt": detail.get("verifier_receipt"),
        "facts_view": detail.get("facts_view"),
        "ready_event_id": detail.get("ready_event_id"),
    }
    if detail.get("traceparent") is not None:
        status["traceparent"] = detail["traceparent"]
    return status


def step_context(run_id: str, step: str, submitted: str | None) -> TraceParent:
    """Where a step of a run stands: in the trace of its submission, under an id that every instance derives.

    ``submitted`` is the context of the submission that is sealed in the ledger.
    """
    trace_id = trace_id_for(run_id, submitted)
    return TraceParent(trace_id, span_id_for(run_id, f"{SERVICE} {step}"), sampled=True)


def ready_event_id(plan: RunPlan) -> str:
    """Id of the run's only READY."""
    return derived_id("sluice.run_ready.v1", plan.run_id, plan.equivalence_key)


def closed_event_id(plan: RunPlan) -> str:
    """Id of the run's only closing."""
    return derived_id("sluice.run_closed.v1", plan.run_id, plan.equivalence_key)


def ready_fields(
    view: Mapping[str, Any], view_ref: Ref, at_utc: int, submitted: str | None = None
) -> Document:
    """The run_ready event of a sealed facts view; it carries the context of the run's verification.

    A run whose submission has no context (an older ledger) has a READY without one.
    """
    event_id = derived_id("sluice.run_ready.v1", view["run_id"], view["equivalence_key"])
    payload = {name: view[name] for name in _READY_PAYLOAD} | {"facts_view": view_ref.to_fields()}
    caused = {"traceparent": _caused(view, VERIFY, submitted), "payload": payload}
    return _envelope("run_ready", event_id, view, at_utc) | caused


_READY_PAYLOAD: Final = (
    "equivalence_key",
    "traffic_delivery_mode",
    "oracle_engine",
    "required_gates",
    "streamed_outputs",
    "expected_events",
)


def closed_fields(
    view: Mapping[str, Any], reason: str, at_utc: int, submitted: str | None = None
) -> Document:
    """The run_closed event; its parent is the READY."""
    event_id = derived_id("sluice.run_closed.v1", view["run_id"], view["equivalence_key"])
    parent = derived_id("sluice.run_ready.v1", view["run_id"], view["equivalence_key"])
    payload = {"reason": reason, "events_expected": view["expected_events"]}
    caused = {"parent_event_id": parent, "traceparent": _caused(view, CLOSE, submitted), "payload": payload}
    return _envelope("run_closed", event_id, view, at_utc) | caused


def _caused(view: Mapping[str, Any], step: str, submitted: str | None) -> str | None:
    known = parse_traceparent(submitted) is not None
    return str(step_context(view["run_id"], step, submitted)) if known else None


def _envelope(event_type: str, event_id: str, view: Mapping[str, Any], at_utc: int) -> Document:
    return {
        "event_id": event_id,
        "event_type": event_type,
        "ts_utc": at_utc,
        "schema_version": 1,
        "manifest_fingerprint": view["manifest_fingerprint"],
        "tenant": view["tenant"],
        "parameter_hash": view["parameter_hash"],
        "scenario_id": view["scenario_id"],
        "run_id": view["run_id"],
        "seed": view["seed"],
        "emitted_at_utc": None,
        "producer": SERVICE,
        "parent_event_id": None,
        "traceparent": None,
    }
