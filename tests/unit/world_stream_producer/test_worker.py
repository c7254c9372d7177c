"""The worker: what it sends, when, and which row is safe to resume from."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from services.world_stream_producer.framing import Framed
from services.world_stream_producer.sending import LaneSender, SendFailedError
from services.world_stream_producer.worker import StreamWorker
from sluice_kit.testing.waiting import until

SECOND = 1_000_000


class RecordingSender(LaneSender):
    """Takes rows in memory; acknowledges up to `acked` of them (all by default)."""

    def __init__(self, capacity: int = 10_000, acked: int | None = None) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self.capacity, self.limit = capacity, acked
        self.failure: Exception | None = None
        self.closed = False
        self._problem: str | None = None

    def acknowledged(self) -> int:
        if self.failure is not None:
            raise self.failure
        return len(self.sent) if self.limit is None else min(self.limit, len(self.sent))

    def room(self) -> int:
        return self.capacity - (len(self.sent) - self.acknowledged())

    def send(self, values: list[bytes]) -> None:
        self.sent.extend((time.monotonic(), value) for value in values)

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.005))

    def drain(self, seconds: float) -> int:
        self.wait(seconds)
        return self.acknowledged()

    def close(self) -> None:
        self.closed = True

    @property
    def values(self) -> list[bytes]:
        return [value for _, value in self.sent]


def rows(count: int, batch: int = 7, step: int = SECOND) -> Iterator[Framed]:
    for first in range(0, count, batch):
        numbers = range(first, min(count, first + batch))
        yield Framed([b"%d" % number for number in numbers], np.array([n * step for n in numbers], np.int64))


def run(worker: StreamWorker) -> None:
    worker.start()
    worker.join(20)
    assert worker.progress().finished


ALL = [b"%d" % number for number in range(100)]


def test_all_rows_are_sent_in_order_and_counted_from_the_start_row() -> None:
    sender = RecordingSender()
    worker = StreamWorker(rows(100), lambda: sender, 1_000, speed=0)
    run(worker)
    assert sender.values == ALL
    progress = worker.progress()
    assert (progress.sent_row, progress.acked_row, progress.exhausted) == (1_100, 1_100, True)
    assert sender.closed


@pytest.mark.parametrize("speed", [0.0, 500.0, 2_000.0])
def test_speed_changes_the_pacing_and_nothing_else(speed: float) -> None:
    sender = RecordingSender()
    worker = StreamWorker(rows(100), lambda: sender, 0, speed=speed)
    begin = time.monotonic()
    run(worker)
    assert sender.values == ALL
    if speed:
        for number in (10, 50, 99):
            sent_after = sender.sent[number][0] - begin
            assert sent_after >= number / speed - 0.002


def test_the_producer_is_never_given_more_than_it_has_room_for() -> None:
    sender = RecordingSender(capacity=10, acked=0)
    worker = StreamWorker(rows(100), lambda: sender, 0, speed=0)
    worker.start()
    until(lambda: len(sender.sent) == 10)
    assert worker.progress().acked_row == 0
    sender.limit = 5
    until(lambda: len(sender.sent) == 15 and worker.progress().acked_row == 5)
    sender.limit = None
    worker.join(10)
    assert sender.values == ALL


def test_the_safe_row_is_the_acknowledged_one_when_told_to_stop() -> None:
    sender = RecordingSender(acked=42)
    worker = StreamWorker(rows(100), lambda: sender, 0, speed=0)
    worker.start()
    until(lambda: len(sender.sent) == 100)
    worker.stop(0.05)
    worker.join(10)
    progress = worker.progress()
    assert (progress.sent_row, progress.acked_row) == (100, 42)
    assert not progress.exhausted
    assert progress.failure is None


def test_a_drain_waits_for_what_was_sent() -> None:
    sender = RecordingSender(acked=42)
    worker = StreamWorker(rows(100), lambda: sender, 0, speed=0)
    worker.start()
    until(lambda: len(sender.sent) == 100)
    worker.stop(10)
    sender.limit = None
    worker.join(10)
    assert worker.progress().acked_row == 100


def test_pause_stands_still_and_resume_goes_on_with_the_same_rows() -> None:
    sender = RecordingSender()
    worker = StreamWorker(rows(100), lambda: sender, 0, speed=100.0)
    worker.start()
    until(lambda: len(sender.sent) > 5)
    worker.wish(paused=True, speed=100.0)
    until(lambda: worker._pace is None)
    standing = len(sender.sent)
    assert standing < 100
    threading.Event().wait(0.3)
    assert len(sender.sent) == standing
    worker.wish(paused=False, speed=0.0)
    worker.join(10)
    assert sender.values == ALL


def test_a_stream_that_starts_paused_sends_nothing() -> None:
    sender = RecordingSender()
    worker = StreamWorker(rows(100), lambda: sender, 0, speed=0, paused=True)
    worker.start()
    threading.Event().wait(0.1)
    assert sender.sent == []
    worker.wish(paused=False, speed=0)
    worker.join(10)
    assert sender.values == ALL


def test_what_fails_is_reported_with_the_row_to_resume_from() -> None:
    def broken() -> Iterator[Framed]:
        yield from rows(14)
        raise OSError("disk gone")

    sender = RecordingSender()
    worker = StreamWorker(broken(), lambda: sender, 0, speed=0)
    run(worker)
    progress = worker.progress()
    assert isinstance(progress.failure, OSError)
    assert progress.acked_row <= 14
    assert not progress.exhausted


def test_a_failed_row_ends_the_worker() -> None:
    sender = RecordingSender(acked=3)
    worker = StreamWorker(rows(100), lambda: sender, 0, speed=0)
    worker.start()
    until(lambda: worker.progress().acked_row == 3)
    sender.failure = SendFailedError("refused")
    worker.join(10)
    progress = worker.progress()
    assert isinstance(progress.failure, SendFailedError)
    assert progress.acked_row == 3
