"""Columns of payments as whole numbers, before they become ids and texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from sluice_engine.draws import Ints

GENUINE = 0
CARD_TESTING = 1
COMPROMISED_TERMINAL = 2
ACCOUNT_TAKEOVER = 3
SCENARIOS = ("none", "card_testing", "compromised_terminal", "account_takeover")


@dataclass(frozen=True, slots=True)
class Events:
    """One row a payment, columns of equal length.

    `ts` is microseconds UTC; `customer` and `terminal` are rows of the population; `card` and `device` number
    the cards and devices (device -1: none); `scenario` indexes SCENARIOS.
    """

    ts: Ints
    customer: Ints
    terminal: Ints
    amount_minor: Ints
    card: Ints
    device: Ints
    scenario: Ints

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: Ints | slice) -> Self:
        """The events of these rows, in this order."""
        return type(self)(*(getattr(self, column.name)[rows] for column in fields(self)))

    def in_time_order(self) -> Self:
        """Sorted by time; events of one microsecond keep their order."""
        return self.take(np.argsort(self.ts, kind="stable"))

    @classmethod
    def joined(cls, parts: Iterable[Events]) -> Events:
        """All parts, one after the other."""
        together = list(parts)
        return Events(
            *(
                np.concatenate([getattr(part, column.name) for part in together])
                if together
                else np.zeros(0, np.int64)
                for column in fields(cls)
            )
        )
