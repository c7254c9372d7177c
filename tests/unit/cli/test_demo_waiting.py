"""The demo waits while things move and gives up on a standstill, whatever the time in all."""

import pytest

from sluice_cli.demo_waiting import DemoError, Patience


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_moves_is_waited_for_however_long_it_takes() -> None:
    clock = Clock()
    patience = Patience("the stream", seconds=10, clock=clock)
    for row in range(1_000):
        clock.now += 9.0
        patience.see(row)


def test_a_standstill_is_given_up_and_says_where_it_stands() -> None:
    clock = Clock()
    patience = Patience("the stream", seconds=10, clock=clock)
    patience.see(7)
    clock.now = 10.0
    patience.see(7)
    clock.now = 10.1
    with pytest.raises(DemoError, match=r"the stream: nothing has moved for 10 s; it stands at 7"):
        patience.see(7)
