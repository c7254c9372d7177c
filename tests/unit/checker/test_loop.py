"""The checker's loop part finds nothing in a right loop, and names each thing that can be wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sluice_checker import CheckerError
from sluice_checker.effects import read_effects
from sluice_checker.loop_log import LoopLog
from sluice_checker.report import Fault, Percentiles
from tests.unit.checker.crafted_loop import LATENCY_MS, LOOP_FAULTS, PAYMENTS, CraftedLoop, whole_loop


def test_a_right_loop_has_no_fault_and_is_counted() -> None:
    verdict = whole_loop().checked()
    assert verdict.faults == {}
    report = verdict.report
    assert (report.payments, report.decisions, report.intents) == (PAYMENTS, PAYMENTS, PAYMENTS)
    assert report.by_outcome == {"ALLOW": 4, "DECLINE": 2, "REVIEW": 2, "STEP_UP": 2}
    assert report.outcomes == {"EXECUTED": PAYMENTS, "UNCERTAIN": 1}
    assert (report.webhook_executed, report.effects) == (6, 6)
    assert (report.audit_records, report.incomplete) == (PAYMENTS, 0)
    assert report.decision_ms == Percentiles(LATENCY_MS, LATENCY_MS)
    assert report.declined is not None
    assert report.declined["reason_codes"] == ("SCORE",)


@pytest.mark.parametrize(
    ("break_it", "faults"), LOOP_FAULTS, ids=[case[0].__name__[1:] for case in LOOP_FAULTS]
)
def test_each_fault_of_the_loop_is_named(break_it: Callable[[CraftedLoop], None], faults: set[Fault]) -> None:
    loop = whole_loop()
    break_it(loop)
    assert set(loop.checked().faults) == faults


def test_a_correction_is_no_second_record_and_the_last_one_says_whether_a_link_is_missing() -> None:
    loop = whole_loop()
    who, _ = loop.records[2]
    loop.records[2] = (who, {"status": "INCOMPLETE", "corrects": None})
    assert loop.checked().report.incomplete == 1
    loop.records.append((who, {"status": "COMPLETE", "corrects": "a" * 64}))
    verdict = loop.checked()
    assert verdict.faults == {}
    report = verdict.report
    assert (report.audit_records, report.audit_corrections, report.incomplete) == (PAYMENTS, 1, 0)


def test_a_loop_without_anything_is_closed_and_an_undecided_payment_is_not() -> None:
    log = LoopLog()
    assert log.is_closed
    event = {"tenant": "t", "run_id": "r", "event_id": "e", "payload": {}}
    log.take(0, "payment", event, 0)
    assert not log.is_closed
    assert log.standing().startswith("1 payments, 0 decisions")


def test_an_effect_log_is_keys_and_what_is_none_is_named_by_line(tmp_path: Path) -> None:
    log = tmp_path / "effects.ndjson"
    log.write_bytes(b'{"key": "a"}\n{"key": "b", "more": 1}\n')
    assert len(read_effects(log)) == 2 * 16
    log.write_bytes(b'{"key": "a"}\nnoise\n')
    with pytest.raises(CheckerError, match="line 2"):
        read_effects(log)
    with pytest.raises(CheckerError, match="cannot be read"):
        read_effects(tmp_path / "nowhere")
