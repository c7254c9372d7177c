"""Each check of the demo can fail, and says what it saw."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sluice_cli import demo_command
from sluice_cli.demo_bundle import ActiveBundle
from sluice_cli.demo_outcome import Outcome
from sluice_cli.demo_traffic import Checkouts, OutsideTraffic
from sluice_cli.demo_world import EngineWorld, FileWorld, SealedWorld
from sluice_decisions.training import Evaluation, Trained
from sluice_kit.artifacts import Digest, Locator
from sluice_kit.replay import ReplayReport
from sluice_kit.replay.history import BatchDifference
from sluice_kit.replay.verifying import VerifyReport
from sluice_kit.stage.basis import BasisRecord

PAYMENTS = 98
LABELS = 9
EVENTS = PAYMENTS + LABELS
REPLAYED = ReplayReport(ranges=(), partitions=(), digest="a" * 64, records=PAYMENTS + 11, seconds=0.1)
LOOP: dict[str, Any] = {
    "decisions": PAYMENTS + 11,
    "by_outcome": {"ALLOW": PAYMENTS, "DECLINE": 6, "REVIEW": 4, "STEP_UP": 1},
    "by_mode": {"MODEL": PAYMENTS + 11},
    "without_snapshot": 0,
    "intents": PAYMENTS + 11,
    "outcomes": {"EXECUTED": PAYMENTS + 11},
    "webhook_executed": 9,
    "effects": 9,
    "audit_records": PAYMENTS + 11,
    "audit_corrections": 0,
    "incomplete": 0,
    "decision_ms": {"p50": 30, "p99": 90},
    "declined": None,
}
ALL_ALLOWED = {"ALLOW": PAYMENTS + 11}
RECORD = BasisRecord("ingestion_gate", 0, 7, (), 1, "rev", "ingestion_gate-0", "d" * 64)
DIFFERENCE = BatchDifference(RECORD, ("ingestion_gate",), "rev", None)
LOCATOR = Locator(uri="artifact://registry/x.json", digest=Digest(algo="sha256", hash="e" * 64), bytes=1)
VERIFIED = VerifyReport(("ingestion_gate",), None, 0, 12, 240, 0.5, None)
REPORT: dict[str, Any] = {
    "lane_records": 233,
    "admitted": 117,
    "duplicates": 111,
    "quarantined": 5,
    "missing": 0,
    "receipts": 233,
    "topics": {
        "ingress.world_stream_producer": EVENTS,
        "ingress.backfill": EVENTS,
        "traffic.payment": PAYMENTS + 11,
        "traffic.label": LABELS,
    },
    "loop": LOOP,
    "problems": [],
    "peak_memory_mib": 120,
}
RIGHT = Outcome(
    world=SealedWorld(
        "oracle://worlds/x", PAYMENTS, LABELS, {"payments": PAYMENTS, "labels": LABELS}, every_outcome=True
    ),
    run_id="run-1",
    gate_killed=True,
    outside=OutsideTraffic(sent=16, admitted=8, duplicates=3, quarantined=5, example_id="demo-1"),
    posts=({"receipt": {"receipt_id": "r1"}}, {"receipt": {"receipt_id": "r1"}}),
    checkouts=Checkouts((20.0, 30.0)),
    backfilled=EVENTS,
    report=REPORT,
    before=REPLAYED,
    after=REPLAYED,
    example=[{"decision": "ADMIT"}],
    bundle=ActiveBundle(
        "payments", "r1", "f" * 64, Trained(LOCATOR, Evaluation.model_construct(roc_auc_ppm=None), 100)
    ),
    verified=VERIFIED,
    console="http://127.0.0.1:1",
)


def reported(**changes: Any) -> Outcome:
    return replace(RIGHT, report=REPORT | changes)


def looped(**changes: Any) -> Outcome:
    return reported(loop=LOOP | changes)


def counted(topic: str, records: int) -> Outcome:
    return reported(topics=REPORT["topics"] | {topic: records})


def test_a_right_outcome_has_no_problems() -> None:
    assert RIGHT.problems() == []
    answer = RIGHT.answer()
    digest = "a" * 64
    assert answer["replay"] == {"events": PAYMENTS + 11, "digest": digest, "identical": True, "batches": 12}
    assert answer["decisions"] == answer["audit_records"] == PAYMENTS + 11
    assert answer["decision_ms"] == {"p50": 30, "p99": 90}
    assert answer["checkout_ms"] == {"p50": 25.0, "max": 30.0}


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (reported(lane_records=234), "234 lane records, 233 settled"),
        (reported(duplicates=110, admitted=118), "110 duplicates, 111 were sent"),
        (reported(quarantined=6, admitted=116), "6 quarantined, 5 were to be"),
        (reported(problems=[{"fault": "FACT_TWICE", "where": "x@1", "detail": "d"}]), "FACT_TWICE at x@1: d"),
        (counted("ingress.world_stream_producer", 99), "99 rows streamed of 107"),
        (counted("ingress.backfill", 99), "99 rows of 107 again"),
        (counted("traffic.payment", 108), "108 payments on the bus, not 109"),
        (counted("traffic.label", 6), "6 labels on the bus, not 9"),
        (replace(RIGHT, posts=({"receipt": {"receipt_id": "r1"}}, {})), "did not get the first receipt"),
        (replace(RIGHT, posts=({}, {})), "did not get the first receipt"),
        (replace(RIGHT, checkouts=Checkouts((20.0, 30.0), 1)), "1 of 2 checkouts were answered without"),
        (replace(RIGHT, after=replace(REPLAYED, digest="b" * 64)), f"replay gave {'b' * 64}"),
        (looped(decisions=108), "108 decisions of 109 payments"),
        (looped(audit_records=108), "108 audit records of 109 payments"),
        (looped(by_mode={"FAIL_CLOSED": 109}), "the model decided nothing: {'FAIL_CLOSED': 109}"),
        (looped(by_outcome=ALL_ALLOWED), "no payment came out as DECLINE, REVIEW, STEP_UP: {'ALLOW': 109}"),
        (looped(by_outcome=LOOP["by_outcome"] | {"STEP_UP": 0}), "no payment came out as STEP_UP: "),
        (looped(outcomes={"EXECUTED": 108, "DENIED": 1}), "actions were not done: {'DENIED': 1}"),
        (looped(incomplete=1), "1 audit records lack a link"),
        (replace(RIGHT, verified=replace(VERIFIED, difference=DIFFERENCE)), "batch 7 comes out otherwise"),
        (replace(RIGHT, after=replace(REPLAYED, records=97)), "97 payments replayed of 98"),
    ],
)
def test_what_is_wrong_is_one_problem_in_words(outcome: Outcome, said: str) -> None:
    problems = outcome.problems()
    assert len(problems) == 1
    assert said in problems[0]


def test_a_made_world_of_some_size_has_to_show_every_outcome_and_a_file_need_not() -> None:
    file = FileWorld(Path("till.csv"), Path("till.yaml"), 0.0, False, Path("rejects.ndjson"))
    assert EngineWorld(demo_command.EVENTS, demo_command.SEED).every_outcome
    assert not EngineWorld(100, demo_command.SEED).every_outcome
    assert not file.every_outcome
    allowed = looped(by_outcome=ALL_ALLOWED)
    assert replace(allowed, world=replace(RIGHT.world, every_outcome=False)).problems() == []


def test_a_demo_that_allows_everything_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo_command, "play", lambda *_, **__: looped(by_outcome=ALL_ALLOWED))
    command = typer.Typer()
    command.command()(demo_command.demo)
    ended = CliRunner().invoke(command, ["--home", str(tmp_path / "home")])
    assert ended.exit_code == 1
    assert "no payment came out as DECLINE, REVIEW, STEP_UP" in " ".join(ended.output.split())
