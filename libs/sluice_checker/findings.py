"""Collects problems: counts all of them, describes the first few of every kind."""

from collections.abc import Callable, Iterable

from sluice_checker.columns import shown
from sluice_checker.report import SHOWN_PROBLEMS, Fault, Problem


class Findings:
    """Counts by fault, and up to `SHOWN_PROBLEMS` described problems of each."""

    def __init__(self) -> None:
        self.counts: dict[Fault, int] = {}
        self._described: dict[Fault, list[Problem]] = {}

    def note(self, fault: Fault, where: str, detail: str) -> None:
        """One problem."""
        self.counts[fault] = self.counts.get(fault, 0) + 1
        described = self._described.setdefault(fault, [])
        if len(described) < SHOWN_PROBLEMS:
            described.append(Problem(fault, where, detail))

    def note_rows(
        self, fault: Fault, rows: Iterable[int], place_of: Callable[[int], int], detail: Callable[[int], str]
    ) -> None:
        """A problem for every row; only the first ones are put into words."""
        rows = list(rows)
        if not rows:
            return
        for row in rows[:SHOWN_PROBLEMS]:
            self.note(fault, shown(place_of(row)), detail(row))
        self.counts[fault] += max(0, len(rows) - SHOWN_PROBLEMS)

    def ordered_counts(self) -> dict[Fault, int]:
        """Counts in the order of the enumeration."""
        return {fault: self.counts[fault] for fault in Fault if fault in self.counts}

    def first(self) -> list[Problem]:
        """The problems to show: one of each kind first, then the rest in order."""
        kinds = [self._described[fault] for fault in Fault if fault in self._described]
        shown_first = [
            problem
            for depth in range(SHOWN_PROBLEMS)
            for kind in kinds
            for problem in kind[depth : depth + 1]
        ]
        return shown_first[:SHOWN_PROBLEMS]
