from dataclasses import replace
from typing import Any

import pytest

from services.scenario_runner.core import (
    FileFacts,
    GateFacts,
    OutputFacts,
    Ref,
    RunState,
    Submission,
    WorldFacts,
    plan_run,
)
from services.scenario_runner.documents import (
    closed_fields,
    expected_events,
    facts_view_document,
    plan_document,
    plan_from,
    ready_fields,
    reasons_of,
    receipt_document,
    record_document,
    status_document,
)
from services.scenario_runner.verification import judge, reusable
from sluice_contracts import Decoded, check, decode, encode

LANE = {"payment": [1]}


def ref(name: str) -> Ref:
    return Ref(f"oracle://worlds/w/{name}", "sha256", name.encode().hex().ljust(64, "0")[:64], 10)


def output(output_id: str, role: str = "business_traffic", event_type: str = "payment") -> OutputFacts:
    files = (
        FileFacts(ref(f"{output_id}.parquet"), 5, 1, 2),
        FileFacts(ref(f"{output_id}.2.parquet"), 6, 3, 4),
    )
    return OutputFacts(output_id, role, event_type, "payment_id", 1, 11, files)


def gate(gate_id: str, *output_ids: str, verdict: str = "PASS") -> GateFacts:
    return GateFacts(gate_id, verdict, output_ids, ref(gate_id))


WORLD = WorldFacts(
    ref("manifest.json"),
    "reference-1",
    "f" * 64,
    "a" * 64,
    7,
    "baseline",
    (
        output("payments"),
        output("labels", role="truth", event_type="label"),
        output("devices", role="context"),
    ),
    (gate("payments.integrity", "payments"), gate("labels.integrity", "labels")),
)
ASKED = Submission("default", "oracle://worlds/w")
PLAN = plan_run(ASKED, WORLD)


def reasons(submission: Submission, world: WorldFacts) -> list[str]:
    return [found.detail for found in judge(plan_run(submission, world), world, LANE) if not found.passed]


def test_a_world_whose_gates_passed_may_be_read() -> None:
    assert reasons(ASKED, WORLD) == []


@pytest.mark.parametrize(
    ("asked", "world", "reason"),
    [
        (
            replace(ASKED, required_gates=("nope",)),
            WORLD,
            "unknown gate nope; the world has labels.integrity, pay",
        ),
        (
            replace(ASKED, streamed_outputs=("nope",)),
            WORLD,
            "unknown output nope; the world has devices, labels",
        ),
        (replace(ASKED, streamed_outputs=("labels",)), WORLD, "output labels has role truth"),
        (replace(ASKED, scenario_id="stress"), WORLD, "asked for scenario stress, the world plays baseline"),
        (
            replace(ASKED, required_gates=("labels.integrity",)),
            WORLD,
            "missing gate: no required gate covers output",
        ),
        (ASKED, replace(WORLD, gates=()), "missing gate: no required gate covers output payments"),
        (ASKED, replace(WORLD, outputs=WORLD.outputs[1:]), "nothing to stream"),
        (
            ASKED,
            replace(WORLD, gates=(gate("payments.integrity", "payments", verdict="FAIL"),)),
            "gate payments.integrity is FAIL, not PASS",
        ),
        (
            replace(ASKED, required_gates=("payments.integrity",)),
            replace(WORLD, gates=(*WORLD.gates, gate("payments.corridor", "payments", verdict="FAIL"))),
            "gate payments.corridor on output payments did not pass",
        ),
        (
            ASKED,
            replace(WORLD, gates=(gate("payments.integrity", "payments", "ghosts"),)),
            "gate payments.integrity names unknown outputs ghosts",
        ),
        (
            ASKED,
            replace(WORLD, outputs=(output("payments", event_type="label"),)),
            "holds label version 1, which no lane carries",
        ),
    ],
)
def test_every_refusal_has_a_reason_that_names_the_thing(
    asked: Submission, world: WorldFacts, reason: str
) -> None:
    assert any(reason in found for found in reasons(asked, world)), reasons(asked, world)


def test_a_manifest_that_changed_since_the_plan_is_drift() -> None:
    found = judge(PLAN, replace(WORLD, manifest_fingerprint="e" * 64), LANE)
    assert "digest drift" in next(check.detail for check in found if not check.passed)


def test_a_receipt_passes_only_when_every_check_does() -> None:
    good = receipt_document(PLAN, judge(PLAN, WORLD, LANE), "p1")
    assert (good["verdict"], good["verified_outputs"], reasons_of(good)) == ("PASS", ["payments"], [])
    bad = receipt_document(PLAN, judge(PLAN, replace(WORLD, gates=()), LANE), "p1")
    assert bad["verdict"] == "FAIL"
    assert bad["verified_outputs"] == []
    assert reasons_of(bad)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"verdict": "FAIL"}, "says FAIL"),
        ({"manifest_fingerprint": "e" * 64}, "is about world eee"),
        ({"verified_outputs": []}, "does not cover payments"),
    ],
)
def test_earlier_evidence_is_used_only_for_what_it_proves(
    change: dict[str, Any], problem: str | None
) -> None:
    receipt = receipt_document(PLAN, judge(PLAN, WORLD, LANE), "p1") | change
    found = reusable(PLAN, receipt)
    assert (found is None) if problem is None else (problem in str(found))


def test_the_facts_view_lists_what_passed_by_reference_and_withholds_the_rest() -> None:
    view = facts_view_document(PLAN, WORLD, ref("receipt"))
    assert [listed["output_id"] for listed in view["outputs"]] == ["payments", "labels"]
    assert view["withheld"] == ["devices"]  # no gate looked at it
    assert view["traffic_delivery_mode"] == "push"
    assert view["expected_events"] == expected_events(PLAN, WORLD) == 11
    first = view["outputs"][0]["files"][0]
    assert first["digest"] == {"algo": "sha256", "hash": ref("payments.parquet").hash}
    assert view["verifier_receipt"]["uri"] == "oracle://worlds/w/receipt"
    assert {gate["gate_id"]: gate["receipt"]["uri"] for gate in view["gates"]}["labels.integrity"]


def test_ready_and_closed_keep_their_contract_and_their_ids() -> None:
    view = facts_view_document(PLAN, WORLD, ref("receipt"))
    ready, later = (ready_fields(view, ref("view"), at) for at in (1_000, 2_000))
    assert check(ready) == ()
    assert ready["event_id"] == later["event_id"]
    closed = closed_fields(view, "done", 3_000)
    assert check(closed) == ()
    assert closed["parent_event_id"] == ready["event_id"]
    for fields in (ready, closed):
        decoded = decode(encode(fields["event_type"], 1, fields))
        assert isinstance(decoded, Decoded)
        assert decoded.fields == fields


def test_documents_follow_from_their_record_and_can_be_read_back() -> None:
    assert plan_from(plan_document(PLAN)) == PLAN
    record = record_document(
        PLAN.run_id, 3, RunState.REFUSED, 42, {"reasons": ["no"], "verifier_receipt": None}
    )
    status = status_document(record, ref("record"), ref("plan"), ref("previous"))
    assert (status["revision"], status["state"], status["reasons"], status["at_utc"]) == (
        3,
        "REFUSED",
        ["no"],
        42,
    )
    assert status["previous"]["uri"] == "oracle://worlds/w/previous"
