"""Spilled rows put together again: what a decision had, and what cannot be decided again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sluice_cli.recorded_cases import CaseMaker
from sluice_cli.recorded_run import Footing, Spill
from sluice_decisions import BundleFault, BundleProblem, PostureInForce
from sluice_decisions.list_history import ListChange, ListHistory
from sluice_decisions.postures import Posture

STANDS = PostureInForce(Posture.NORMAL, frozenset({"rules"}), 99)
FOOTING = Footing(
    {"posture-1": STANDS}, {}, ListHistory([ListChange(5, "default", "blocked", "T1", added=True)])
)
PAYMENT = ["e1", "payment", {"payment_id": "p1", "amount_minor": 700, "terminal_id": "T1", "device_id": None}]


def decided(
    *reasons: str, snapshot: str | None = "h1", posture: str | None = "posture-1", at: int = 5
) -> list[Any]:
    return ["e1", "decision", ["ALLOW", "MODEL", list(reasons), 12, "b1", snapshot, posture, at, 50]]


def snapshot(name: str) -> list[Any]:
    return ["e1", "snapshot", [[1, 2], [], "set", name, 7, False]]


def maker() -> CaseMaker:
    return CaseMaker(FOOTING, "default", lambda payment_id: payment_id == "p1")


def test_a_case_is_what_the_decision_names() -> None:
    (taken,) = maker().cases([snapshot("h0"), PAYMENT, decided("DEFAULT"), snapshot("h1")])
    one = taken.recorded
    assert one.case.snapshot is not None
    assert (one.case.snapshot.snapshot_hash, one.case.amount, one.case.deadline) == ("h1", 700, 50)
    assert "device_id" not in one.case.fields
    assert (one.posture, one.fraud, "T1" in one.lists["blocked"]) == (STANDS, True, True)
    (earlier,) = maker().cases([PAYMENT, decided(at=4), snapshot("h1")])
    assert earlier.recorded.lists.get("blocked") is None


def test_a_payment_decided_at_its_deadline_had_no_snapshot_though_one_came_later() -> None:
    (late,) = maker().cases([PAYMENT, decided("SNAPSHOT_MISSING", snapshot=None), snapshot("h1")])
    assert late.recorded.case.snapshot is None
    (closed,) = maker().cases([PAYMENT, decided("POSTURE_FAIL_CLOSED", snapshot=None), snapshot("h1")])
    assert closed.recorded.case.snapshot is not None


def test_what_was_wrong_with_a_bundle_is_known_from_the_reasons() -> None:
    rows = [PAYMENT, decided("BUNDLE_UNRESOLVED", "MODEL_MISSING", snapshot=None)]
    (taken,) = maker().cases(rows)
    assert taken.problem == BundleProblem(BundleFault.MODEL_MISSING, "", "")


def test_what_cannot_be_decided_again_is_counted_by_reason() -> None:
    made = maker()
    assert made.cases([decided(), snapshot("h1")]) == []
    assert made.cases([PAYMENT, decided(), snapshot("other")]) == []
    assert made.cases([PAYMENT, decided(posture="posture-gone"), snapshot("h1")]) == []
    assert made.cases([PAYMENT, decided("BUNDLE_UNRESOLVED", "POISON", snapshot=None)]) == []
    assert made.left_out == {"PAYMENT_GONE": 1, "SNAPSHOT_GONE": 1, "POSTURE_GONE": 1, "POISON": 1}


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 9)), max_size=60), st.integers(1, 7))
def test_rows_of_an_event_come_back_together_and_in_order(
    tmp_path_factory: Any, rows: list[tuple[str, int]], files: int
) -> None:
    folder: Path = tmp_path_factory.mktemp("spill")
    spill = Spill(folder, files)
    for event_id, number in rows:
        spill.put(event_id, "decision", number)
    parts = [[(event_id, number) for event_id, _, number in part] for part in spill.parts()]
    for event_id in {event_id for event_id, _ in rows}:
        (inside,) = [part for part in parts if any(one == event_id for one, _ in part)]
        assert [row for row in inside if row[0] == event_id] == [row for row in rows if row[0] == event_id]
    assert list(folder.iterdir()) == []
