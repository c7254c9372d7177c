"""Hours close by watermark, so reports do not depend on how records fell into batches."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.flow_meter.core import HOUR, IDLE_AFTER, LANE, TRAFFIC
from services.flow_meter.stage import FlowMeterStage
from services.flow_meter.tallies import TALLY
from sluice_kit.stage import ChainSpec
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, framed, payment

START = NOW // HOUR * HOUR
HOUR_SECONDS = 3_600
SECOND = 1_000_000


def driver() -> TopologyDriver:
    return TopologyDriver(ChainSpec([FlowMeterStage()]), now=NOW)


def pay(meter: TopologyDriver, number: int, seconds: float, *, amount: int = 100, partition: int = 0) -> None:
    ts_utc = START + int(seconds * SECOND)
    meter.pipe(TRAFFIC, framed(payment(f"e{number}", amount=amount, ts_utc=ts_utc)), partition=partition)


def reports(meter: TopologyDriver) -> list[dict[str, Any]]:
    return [event["payload"] for event in meter.events(LANE)]  # type: ignore[misc]


def test_an_hour_is_reported_once_every_partition_has_passed_its_end() -> None:
    meter = driver()
    pay(meter, 1, 10, amount=5)
    pay(meter, 2, 20, amount=7, partition=1)
    pay(meter, 3, HOUR_SECONDS + 10, partition=0)
    meter.step()
    assert reports(meter) == []
    for number, partition in enumerate((1, 2, 3)):
        pay(meter, 10 + number, HOUR_SECONDS + 1, partition=partition)
    meter.step()

    (report,) = reports(meter)
    assert (report["window_start"], report["window_end"]) == (START, START + HOUR)
    assert (report["events"], report["amount_minor_total"], report["currencies"]) == (2, 12, {"EUR": 12})


def test_a_silent_partition_holds_time_back_only_until_it_is_idle() -> None:
    meter = driver()
    pay(meter, 1, 10)
    pay(meter, 2, HOUR_SECONDS + 10)
    meter.step()
    meter.advance(IDLE_AFTER / SECOND - 1)
    assert reports(meter) == []
    meter.advance(2)
    assert [report["events"] for report in reports(meter)] == [1]


def test_every_minute_of_a_closed_hour_has_its_tally() -> None:
    meter = driver()
    for number, second in enumerate((10, 20, 70, 3_599)):
        pay(meter, number, second, amount=second)
    pay(meter, 9, HOUR_SECONDS + 10)
    meter.step()
    meter.advance(IDLE_AFTER / SECOND + 1)

    tallies = [record.decoded().fields for record in meter.read(TALLY)]
    assert sorted((t["minute"] - START, t["events"], t["amount_minor_total"]) for t in tallies) == [
        (0, 2, 30),
        (60 * SECOND, 1, 70),
        (3_540 * SECOND, 1, 3_599),
    ]


def test_a_late_event_changes_no_report_and_is_counted() -> None:
    meter = driver()
    pay(meter, 1, 10)
    pay(meter, 2, HOUR_SECONDS + 10)
    meter.step()
    meter.advance(IDLE_AFTER / SECOND + 1)
    pay(meter, 3, 15)
    meter.step()
    meter.advance(IDLE_AFTER / SECOND + 1)

    assert [report["events"] for report in reports(meter)] == [1]
    state = meter.spec.head.state
    assert state.values["run|default|run-1"]["late"] == 1  # type: ignore[attr-defined]


@given(
    seconds=st.lists(st.integers(0, 20_000), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
def test_reports_and_tallies_are_the_same_however_records_fall_into_batches(
    seconds: Sequence[int], cuts: Sequence[int]
) -> None:
    in_order = sorted(seconds)

    def run(batches: Sequence[Sequence[tuple[int, int]]]) -> tuple[list[bytes], list[bytes]]:
        meter = driver()
        for batch in batches:
            for number, second in batch:
                for partition in range(4):
                    pay(meter, number * 4 + partition, second, partition=partition)
            meter.step()
        meter.advance(IDLE_AFTER / SECOND + 1)
        return [r.value for r in meter.read(LANE)], [r.value for r in meter.read(TALLY)]

    numbered = list(enumerate(in_order))
    edges = sorted({0, len(numbered), *(cut for cut in cuts if cut < len(numbered))})
    pieces = [numbered[low:high] for low, high in pairwise(edges)]
    assert run([numbered]) == run(pieces)


@given(
    st.lists(st.sampled_from(["EUR", "USD", "odd", "junk"]), min_size=16, max_size=40),
    st.permutations([*range(40)]),
)
def test_payments_are_counted_alike_read_by_columns_or_alone(
    kinds: Sequence[str], mixed: Sequence[int]
) -> None:
    """`odd`: an id that is not ASCII, so it is read alone among columns."""

    def run(order: Sequence[int], *, together: bool) -> Any:
        meter = driver()
        for number in order:
            kind = kinds[number]
            event = payment(
                f"é{number}" if kind == "odd" else f"e{number}", ts_utc=START + 30 * number * SECOND
            )
            event["run_id"] = f"run-{number % 2}"
            event["payload"]["currency"] = "USD" if kind == "USD" else "EUR"
            value = b"junk" if kind == "junk" else framed(event)
            meter.pipe(TRAFFIC, value, partition=number % 4)
            if not together:
                meter.step()
        meter.step()
        return meter.spec.head.state.values  # type: ignore[attr-defined]

    shuffled = [number for number in mixed if number < len(kinds)]
    assert run(shuffled, together=True) == run(range(len(kinds)), together=False)


@pytest.mark.parametrize("value", [None, b"", b"junk"])
def test_bytes_that_are_no_event_are_left_alone(value: bytes | None) -> None:
    meter = driver()
    meter.pipe(TRAFFIC, value, partition=0)
    meter.step()
    assert reports(meter) == []
