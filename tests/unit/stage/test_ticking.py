"""A chain without input is stepped once a second, and when a member asks for it."""

from collections.abc import Sequence

import pytest

from sluice_kit.stage.ticking import Ticker
from tests.unit.stage.test_poison import Fragile

NOW = 1_700_000_000_000_000


class Waiting(Fragile):
    """Waits for a moment."""

    def __init__(self, moment: int | None) -> None:
        super().__init__()
        self._moment = moment

    def wake_at(self) -> int | None:
        return self._moment


@pytest.mark.parametrize(
    ("moments", "seconds"),
    [
        ([], 1.0),
        ([None], 1.0),
        ([NOW + 30_000], 0.03),
        ([None, NOW + 90_000, NOW + 40_000], 0.04),
        ([NOW + 9_000_000], 1.0),
        ([NOW - 1], 0.005),
    ],
)
def test_the_next_batch_without_input(moments: Sequence[int | None], seconds: float) -> None:
    time = [50.0]
    ticker = Ticker([Fragile(), *map(Waiting, moments)], 1.0, lambda: time[0])
    assert ticker.seconds_left == 0, "the first one is due at once"
    ticker.stepped(NOW)
    assert ticker.seconds_left == pytest.approx(seconds)
    time[0] += 60
    assert ticker.seconds_left == 0
