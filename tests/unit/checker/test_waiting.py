"""The checker waits as long as the logs grow, and judges once they stand still."""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace

import pytest

from sluice_checker import CheckSettings, Fault, checking
from sluice_checker.bus_reader import Mark, Partition
from sluice_checker.columns import by_topic, numbers, place
from sluice_checker.logs import Recorded
from tests.unit.checker.crafted_loop import EXAMPLES

LANE = "ingress.partner_acme"


class GrowingLane:
    """A lane that gets a record at every second look, up to `limit`; a look takes `seconds` of `clock`."""

    def __init__(self, clock: "Clock", seconds: float, limit: int, value: bytes = b"noise") -> None:
        self.clock, self.seconds, self.limit, self.looks, self.value = clock, seconds, limit, 0, value

    def partitions(self, topics: Iterable[str]) -> tuple[list[Partition], list[str]]:
        assert LANE in topics
        return [(LANE, 0)], []

    def marks(self, partitions: Sequence[Partition]) -> dict[Partition, Mark]:
        return {partition: Mark(0, 0, 0) for partition in partitions}

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        self.clock.now += self.seconds
        self.looks += 1
        end = min(self.looks // 2, self.limit)
        return dict.fromkeys(partitions, (end, end))

    def read(
        self, ranges: Mapping[Partition, tuple[int, int]], take: Callable[[list[Recorded]], None]
    ) -> int:
        for (topic, number), (start, end) in ranges.items():
            take([Recorded(topic, number, offset, None, self.value) for offset in range(start, end)])
        return len(ranges)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(checking, "time", SimpleNamespace(monotonic=made.monotonic, sleep=made.sleep))
    return made


def reading(clock: Clock, limit: int, told: list[tuple[str, int, int]]) -> checking._Reading:
    settings = CheckSettings(until_sent=50, deadline_seconds=10.0, settle_seconds=1.0)
    lane = GrowingLane(clock, 4.5, limit)
    made = checking._Reading(lane, settings, lambda *step: told.append(step))  # type: ignore[arg-type]
    made.run()
    return made


def test_what_grows_is_waited_for_however_long_it_takes(clock: Clock) -> None:
    told: list[tuple[str, int, int]] = []
    found = reading(clock, 50, told)
    assert clock.now > 400
    assert len(found.logs.lanes) == 50
    assert found.findings.counts == {}
    assert told[-1] == ("lanes", 50, 50)


def test_what_stands_still_is_judged_as_it_is(clock: Clock) -> None:
    found = reading(clock, 20, [])
    assert found.findings.counts == {Fault.NOT_SETTLED: 1}
    assert "20 lane records of 50" in found.findings.first()[0].detail


def test_heartbeats_that_never_stop_are_no_reason_to_wait(clock: Clock) -> None:
    beat = (EXAMPLES / "service_signal.v1" / "full.bin").read_bytes()
    lane = GrowingLane(clock, 0.5, 10**9, beat)
    made = checking._Reading(lane, CheckSettings(settle_seconds=1.0), lambda *_: None)  # type: ignore[arg-type]
    made.run()
    assert 1 <= len(made.logs.lanes) == made.logs.lanes.heartbeats < 10
    assert made.findings.counts == {}


def test_an_open_loop_is_waited_for_and_then_named(clock: Clock) -> None:
    lane = GrowingLane(clock, 4.5, 3)
    settings = CheckSettings(until_sent=3, deadline_seconds=10.0, settle_seconds=1.0, loop=True)
    made = checking._Reading(lane, settings, lambda *_: None)  # type: ignore[arg-type]
    assert made.logs.facts.loop is not None
    made.logs.facts.loop.take(0, "payment", {"tenant": "t", "run_id": "r", "event_id": "e", "payload": {}}, 0)
    made.run()
    assert made.findings.counts == {Fault.LOOP_OPEN: 1}
    assert "1 payments, 0 decisions" in made.findings.first()[0].detail


def test_records_are_counted_by_topic() -> None:
    places = [place(LANE, 3, 7), place(LANE, 0, 0), place("traffic.payment", 1, 2**39)]
    assert by_topic(numbers(array("Q", places))) == {LANE: 2, "traffic.payment": 1}
    assert by_topic(numbers(array("Q"))) == {}
