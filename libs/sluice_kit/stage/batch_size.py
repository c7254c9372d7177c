"""How many records a batch may have, so that it ends well within the time that a transaction has.

What a batch costs depends on the machine and on what happens on it, so it is found out: after one that took
too long the next are half as large, and after every full one that was quick a quarter larger again.
"""

from typing import Final

FIRST: Final = 4
"""A start begins with this part of the most: nothing is warm yet."""
TOO_LONG: Final = 2
"""A transaction that took more than this part of its time, and failed, is taken to have been too large."""
LONG: Final = 4
"""One that took more than this part of its time, and was committed, was nearly too large."""
QUICK: Final = 10
"""One that took less than this part of its time may be larger: a second of the usual ten."""


class BatchSize:
    """`now` is how many records the next batch may have at most; at least one."""

    def __init__(self, most: int, transaction_seconds: float) -> None:
        self._most = most
        self._seconds = transaction_seconds
        self.now = max(1, most // FIRST)

    def committed(self, records: int, seconds: float) -> None:
        """Learn from a batch that was committed, `seconds` after it was begun."""
        if seconds > self._seconds / LONG:
            self._halve(records)
        elif records >= self.now and seconds < self._seconds / QUICK:
            self.now = min(self._most, self.now + self.now // 4 + 1)

    def failed(self, records: int, seconds: float) -> bool:
        """Learn from an attempt that was not committed; True when the batch is to be cut to the new size."""
        if records < 2 or seconds < self._seconds / TOO_LONG:
            return False
        self._halve(records)
        return True

    def _halve(self, records: int) -> None:
        self.now = max(1, min(self.now, records // 2))
