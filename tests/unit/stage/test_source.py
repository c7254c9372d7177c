"""What a reader knows of its input: how far it is behind, as of its last look."""

import threading
import time
from collections.abc import Collection, Sequence
from queue import Empty, Queue
from typing import Any, cast

import pytest

from sluice_kit.kafka.fetch_client import Fetched
from sluice_kit.stage import InputRange, Record, source
from sluice_kit.stage.errors import StageError
from sluice_kit.stage.source import FEW, FEWEST_TOGETHER, InputReader, ReadAhead
from sluice_kit.testing.waiting import until

EFFECTS = "effects"


class Answers:
    """What a fetch client was told lately."""

    problem = None

    def __init__(self) -> None:
        self.ends: dict[tuple[str, int], int] = {}

    def read(self, wait_seconds: float, only: Collection[str] | None = None) -> list[Fetched]:
        raise AssertionError(wait_seconds, only)

    def close(self) -> None:
        return


def test_the_lag_is_that_of_the_last_look_and_known_from_the_start() -> None:
    answers = Answers()
    positions, ends = {("t", 0): 10, ("t", 1): 7}, {("t", 0): 50, ("t", 1): 7}
    reader = InputReader(answers, positions, ends, with_headers=frozenset())
    assert reader.lag() == {("t", 0): 40, ("t", 1): 0}

    reader.advance([InputRange("t", 0, 10, 30)])
    assert reader.lag() == {("t", 0): 40, ("t", 1): 0}, "nobody has looked since"
    reader.note_ends()
    assert reader.lag() == {("t", 0): 20, ("t", 1): 0}, (
        "nothing was fetched yet: the ends are those of the start"
    )
    answers.ends = {("t", 0): 60, ("t", 1): 12}
    reader.note_ends()
    assert reader.lag() == {("t", 0): 30, ("t", 1): 5}


class Arrivals:
    """A reader to which records come when a test says so."""

    def __init__(self) -> None:
        self.coming: Queue[list[Record]] = Queue()
        self.asked = threading.Semaphore(0)
        self.only: list[Collection[str] | None] = []
        self.topics = frozenset({"t", EFFECTS})

    def read(self, wait_seconds: float, only: Collection[str] | None = None) -> list[Record]:
        self.only.append(only)
        self.asked.release()
        try:
            return self.coming.get(timeout=wait_seconds)
        except Empty:
            return []

    def note_ends(self) -> None:
        return


def numbered(first: int, count: int, topic: str = "t") -> list[Record]:
    return [Record(topic, 0, number, None, b"%d" % number) for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("chunks", "prepared_together"),
    [
        pytest.param([2, 3, 1], [6], id="a few at a time: when they are taken"),
        pytest.param([FEW, 4, 1, FEW + 1, 2], [FEW, FEW + 1, 7], id="many at once: as they come"),
    ],
)
def test_records_are_prepared_many_together_and_keep_their_order(
    chunks: list[int], prepared_together: list[int]
) -> None:
    arrivals, sizes = Arrivals(), []

    def prepare(records: Sequence[Record]) -> list[Any]:
        sizes.append(len(records))
        return [int(record.value or b"") for record in records]

    ahead = ReadAhead(cast("InputReader", arrivals), prepare, limit=10_000)
    try:
        for at, count in enumerate(chunks):
            arrivals.coming.put(numbered(sum(chunks[:at]), count))
            until(lambda: ahead.waiting == sum(chunks[: at + 1]), "the chunk is kept")  # noqa: B023
        taken = ahead.take(10_000, 1)
        ahead.give_back(taken[1:])
        again = ahead.take(10_000, 1)
    finally:
        ahead.stop()

    assert [record.prepared for record in taken] == list(range(sum(chunks)))
    assert again == taken[1:]
    assert sizes == prepared_together


def test_what_waits_is_prepared_once_and_keeps_its_order_when_more_comes() -> None:
    arrivals, sizes = Arrivals(), []

    def prepare(records: Sequence[Record]) -> list[Any]:
        sizes.append(len(records))
        return [int(record.value or b"") for record in records]

    first, effects = FEWEST_TOGETHER - 10, 20
    ahead = ReadAhead(cast("InputReader", arrivals), prepare, 10_000, frozenset({EFFECTS}))
    try:
        arrivals.coming.put(numbered(0, first))
        until(lambda: ahead.waiting == first, "the first")
        ahead.prepare_waiting()
        assert not sizes, "so few are left to be prepared with what comes"
        arrivals.coming.put(numbered(first, effects, EFFECTS))
        until(lambda: ahead.waiting == first + effects, "effects")
        ahead.prepare_waiting()
        arrivals.coming.put(numbered(first + effects, 5))
        until(lambda: ahead.waiting == first + effects + 5, "more")
        taken = ahead.take(10_000, 1)
    finally:
        ahead.stop()

    assert sizes == [first + effects, 5]
    hurried = [*range(first), *range(first + effects, first + effects + 5)]
    assert [record.prepared for record in taken] == [*hurried, *range(first, first + effects)]
    assert [int(record.value or b"") for record in taken] == [record.prepared for record in taken]


def test_a_steady_flow_is_read_together_unless_the_stage_has_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "_TOGETHER_SECONDS", 600.0)
    arrivals = Arrivals()
    ahead = ReadAhead(cast("InputReader", arrivals), None, limit=2 * FEW)
    try:
        arrivals.coming.put(numbered(0, 3))
        until(lambda: ahead.waiting == 3, "the first are read")
        while arrivals.asked.acquire(blocking=False):
            pass
        assert len(ahead.take(3, 5)) == 3
        assert not arrivals.asked.acquire(timeout=0.3), "more would have come too soon"

        arrivals.coming.put(numbered(3, 1))
        assert len(ahead.take(3, 5)) == 1, "the stage has nothing to do: it is asked at once"
    finally:
        ahead.stop()


def test_a_stage_that_lingers_is_given_more_at_a_time() -> None:
    arrivals, linger = Arrivals(), 0.4
    arrivals.coming.put(numbered(0, 3))
    begin = time.monotonic()
    ahead = ReadAhead(cast("InputReader", arrivals), None, 2 * FEW, linger_seconds=linger)
    try:
        assert len(ahead.take(3, 5)) == 3
        assert time.monotonic() - begin < linger, "the first of a flow comes at once"
        arrivals.coming.put(numbered(3, 2))
        assert len(ahead.take(3, 5)) == 2
        assert time.monotonic() - begin > linger
    finally:
        ahead.stop()


def test_a_backlog_is_read_without_a_pause_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_TOGETHER_SECONDS", 600.0)
    arrivals = Arrivals()
    for number in range(3):
        arrivals.coming.put(numbered(number * FEW, FEW))
    ahead = ReadAhead(cast("InputReader", arrivals), None, limit=2 * FEW)
    try:
        until(lambda: ahead.waiting == 2 * FEW, "two of three")
        assert arrivals.coming.qsize() == 1
        assert len(ahead.take(FEW, 5)) == FEW
        until(arrivals.coming.empty, "the third, as soon as there is room")
    finally:
        ahead.stop()


def test_where_one_kind_fills_what_waits_the_other_is_read_once_a_batch() -> None:
    arrivals = Arrivals()
    arrivals.coming.put(numbered(0, FEW))
    arrivals.coming.put(numbered(0, 3, EFFECTS))
    ahead = ReadAhead(cast("InputReader", arrivals), None, FEW, frozenset({EFFECTS}))
    try:
        until(lambda: ahead.waiting == FEW + 3, "a backlog, and effects beside it")
        assert arrivals.only == [None, {EFFECTS}]

        arrivals.coming.put(numbered(3, FEW, EFFECTS))
        assert len(ahead.take(3, 1)) == 3
        until(lambda: len(arrivals.only) == 4, "both while there is room, then what a burst leaves room for")
        assert arrivals.only[2:] == [None, {"t"}]
    finally:
        ahead.stop()


def test_what_reading_raises_reaches_the_stage_behind_what_was_read() -> None:
    class Failing(Arrivals):
        def read(self, wait_seconds: float, only: Collection[str] | None = None) -> list[Record]:
            found = super().read(wait_seconds, only)
            if not found:
                raise StageError("the broker refuses")
            return found

    arrivals = Failing()
    arrivals.coming.put(numbered(0, FEW))
    ahead = ReadAhead(cast("InputReader", arrivals), None, limit=10_000)
    try:
        assert len(ahead.take(10_000, 5)) == FEW
        with pytest.raises(StageError, match="refuses"):
            ahead.take(10_000, 5)
    finally:
        ahead.stop()
