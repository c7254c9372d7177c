"""Each check of the demo can fail, and says what it saw."""

from dataclasses import replace
from typing import Any

import pytest

from sluice_cli.demo_outcome import Outcome
from sluice_cli.demo_traffic import OutsideTraffic
from sluice_cli.demo_world import SealedWorld
from sluice_kit.replay import ReplayReport

PAYMENTS = 100
REPLAYED = ReplayReport(ranges=(), partitions=(), digest="a" * 64, records=PAYMENTS + 9, seconds=0.1)
REPORT: dict[str, Any] = {
    "lane_records": 219,
    "admitted": 110,
    "duplicates": 104,
    "quarantined": 5,
    "missing": 0,
    "receipts": 219,
    "topics": {
        "ingress.world_stream_producer": PAYMENTS,
        "ingress.backfill": PAYMENTS,
        "traffic.payment": PAYMENTS + 9,
    },
    "problems": [],
    "peak_memory_mib": 120,
}
RIGHT = Outcome(
    world=SealedWorld("oracle://worlds/x", PAYMENTS, {"payments": PAYMENTS}),
    run_id="run-1",
    gate_killed=True,
    outside=OutsideTraffic(sent=16, admitted=8, duplicates=3, quarantined=5, example_id="demo-1"),
    posts=({"receipt": {"receipt_id": "r1"}}, {"receipt": {"receipt_id": "r1"}}),
    backfilled=PAYMENTS,
    report=REPORT,
    before=REPLAYED,
    after=REPLAYED,
    example=[{"decision": "ADMIT"}],
)


def reported(**changes: Any) -> Outcome:
    return replace(RIGHT, report=REPORT | changes)


def counted(topic: str, records: int) -> Outcome:
    return reported(topics=REPORT["topics"] | {topic: records})


def test_a_right_outcome_has_no_problems() -> None:
    assert RIGHT.problems() == []
    assert RIGHT.answer()["replay"] == {"events": PAYMENTS + 9, "digest": "a" * 64, "identical": True}


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (reported(lane_records=220), "220 lane records, 219 settled"),
        (reported(duplicates=103, admitted=111), "103 duplicates, 104 were sent"),
        (reported(quarantined=6, admitted=109), "6 quarantined, 5 were to be"),
        (reported(problems=[{"fault": "FACT_TWICE", "where": "x@1", "detail": "d"}]), "FACT_TWICE at x@1: d"),
        (counted("ingress.world_stream_producer", 99), "99 rows streamed of 100"),
        (counted("ingress.backfill", 99), "99 rows of 100 again"),
        (counted("traffic.payment", 108), "108 payments on the bus, not 109"),
        (replace(RIGHT, posts=({"receipt": {"receipt_id": "r1"}}, {})), "did not get the first receipt"),
        (replace(RIGHT, posts=({}, {})), "did not get the first receipt"),
        (replace(RIGHT, after=replace(REPLAYED, digest="b" * 64)), f"replay gave {'b' * 64}"),
        (replace(RIGHT, after=replace(REPLAYED, records=99)), "99 payments replayed of 100"),
    ],
)
def test_what_is_wrong_is_one_problem_in_words(outcome: Outcome, said: str) -> None:
    problems = outcome.problems()
    assert len(problems) == 1
    assert said in problems[0]
