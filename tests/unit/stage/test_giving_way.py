"""Sealing rests between the parts of its work, but only where it shares the interpreter with steps."""

import threading
import time
from collections.abc import Callable

import pytest

from sluice_kit.stage.giving_way import giving_way, rest, restfully


class Hurry(threading.Event):
    """Nobody is in a hurry; how long it was waited for is noted instead of spent."""

    def __init__(self) -> None:
        super().__init__()
        self.rests: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if not self.is_set():
            self.rests.append(timeout)
        return self.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time that passes only when it is told to."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def test_a_rest_is_several_times_as_long_as_the_work(clock: Callable[[float], None]) -> None:
    hurry = Hurry()
    with giving_way(hurry):
        for _ in restfully([1, 2, 3]):
            clock(0.01)
    assert hurry.rests == pytest.approx([0.05] * 3)


def test_short_work_adds_up_until_it_is_worth_a_rest(clock: Callable[[float], None]) -> None:
    hurry = Hurry()
    with giving_way(hurry):
        for _ in restfully(range(10)):
            clock(0.0003)
    assert hurry.rests == pytest.approx([0.006, 0.006])


def test_without_anybody_to_give_way_to_nothing_rests(clock: Callable[[float], None]) -> None:
    hurry = Hurry()
    with giving_way(hurry):
        pass
    clock(1.0)
    rest()
    assert hurry.rests == []


def test_another_thread_does_not_rest() -> None:
    hurry = Hurry()
    with giving_way(hurry):
        thread = threading.Thread(target=lambda: [time.sleep(0.002), rest()])
        thread.start()
        thread.join()
    assert hurry.rests == []


def test_who_hurries_does_not_rest() -> None:
    hurry = threading.Event()
    hurry.set()
    begun = time.monotonic()
    with giving_way(hurry):
        for _ in restfully(range(3)):
            time.sleep(0.01)
    assert time.monotonic() - begun < 3 * 0.05
