"""What the service counted since its last signal."""

from __future__ import annotations

from collections import Counter

from services.action_layer.core import State


class Tally:
    """Counts between two signals. Attempts that a database rolled back may be counted twice."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def taken(self, new: int, *, repeated: int, conflicts: int) -> None:
        """Intents of a batch: new ones, ones known already, ones whose key stands for another content."""
        self._counts.update(events=new, repeated=repeated, conflicts=conflicts)

    def settled(self, outcome: State, count: int = 1) -> None:
        """Outcomes of a kind that are published."""
        self._counts[outcome.value.lower()] += count

    def call(self, *, failed: bool) -> None:
        """A call of an effector that ended."""
        self._counts.update(calls=1, errors=int(failed))

    def drain(self) -> dict[str, int]:
        """The counts by name, which begin anew."""
        counts, self._counts = self._counts, Counter()
        names = ("events", "repeated", "conflicts", "calls", "errors", *(s.value.lower() for s in State))
        skipped = {State.PENDING.value.lower(), State.ATTEMPTING.value.lower()}
        return {name: counts[name] for name in names if name not in skipped}
