"""The checker's loop part finds nothing in a right loop, and names each thing that can be wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sluice_checker import CheckerError, CheckSettings, check
from sluice_checker.effects import read_effects, read_logged_effects
from sluice_checker.loop_log import LoopLog, key_digest
from sluice_checker.report import Fault, Percentiles
from tests.unit.checker.crafted_loop import LATENCY_MS, LOOP_FAULTS, PAYMENTS, CraftedLoop, whole_loop


def test_a_right_loop_has_no_fault_and_is_counted() -> None:
    verdict = whole_loop().checked()
    assert verdict.faults == {}
    report = verdict.report
    assert (report.payments, report.decisions, report.intents) == (PAYMENTS, PAYMENTS, PAYMENTS)
    assert report.by_outcome == {"ALLOW": 4, "DECLINE": 2, "REVIEW": 2, "STEP_UP": 2}
    assert report.outcomes == {"EXECUTED": PAYMENTS, "UNCERTAIN": 1}
    assert (report.webhook_executed, report.effects) == (4, 4)
    assert (report.logged, report.list_changes) == (4, 2)
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


def test_only_the_last_record_of_a_payment_is_held_to_what_was_and_only_once_it_is_whole() -> None:
    loop = whole_loop()
    who, _ = loop.records[2]
    loop.records[2] = (who, {"status": "INCOMPLETE", "missing": ["outcomes"], "corrects": None})
    loop.misnamed[2, "outcomes"] = []
    assert loop.checked().faults == {}
    loop.records.append((who, {"status": "COMPLETE", "corrects": "a" * 64}))
    assert loop.checked().faults == {}
    loop.misnamed[len(loop.records) - 1, "outcomes"] = []
    verdict = loop.checked()
    assert verdict.faults == {Fault.AUDIT_RECORD_WRONG: 1}
    assert "leaves this outcome out" in verdict.findings.first()[0].detail


def test_a_record_may_lack_a_snapshot_for_good_and_nothing_else() -> None:
    loop = whole_loop()
    who, _ = loop.records[2]
    loop.records[2] = (who, {"status": "INCOMPLETE", "missing": ["snapshot"], "corrects": None})
    assert loop.checked().faults == {}
    loop.misnamed[2, "intents"] = []
    assert loop.checked().faults == {Fault.AUDIT_RECORD_WRONG: 1}


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


def test_the_log_effectors_files_are_read_in_their_order(tmp_path: Path) -> None:
    with pytest.raises(CheckerError, match=r"holds no effects-\*\.ndjson"):
        read_logged_effects(tmp_path)
    (tmp_path / "effects-000001.ndjson").write_bytes(b'{"idempotency_key": "c"}\n')
    (tmp_path / "effects-000000.ndjson").write_bytes(b'{"idempotency_key": "a"}\n{"idempotency_key": "b"}\n')
    assert read_logged_effects(tmp_path) == b"".join(map(key_digest, "abc"))
    (tmp_path / "effects-000001.ndjson").write_bytes(b'{"key": "c"}\n')
    with pytest.raises(CheckerError, match=r"effects-000001\.ndjson, line 1"):
        read_logged_effects(tmp_path)


@pytest.mark.parametrize("option", ["effects", "logged_effects"])
def test_effects_without_the_loop_are_refused_and_not_passed_over(tmp_path: Path, option: str) -> None:
    settings = CheckSettings(**{option: tmp_path / "nowhere"})  # type: ignore[arg-type]
    with pytest.raises(CheckerError, match=r"nowhere.*--loop"):
        check({}, None, settings)
