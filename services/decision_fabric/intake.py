"""Taking a batch's records in: what steers, payments to decide, snapshots to decide them by. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from services.decision_fabric.arrivals import Arrived, Paid, Snapshot
from services.decision_fabric.lists import change_list
from services.decision_fabric.model import Activation, EarlySnapshot, HeldPosture, Payment
from services.decision_fabric.policy import FabricPolicy
from services.decision_fabric.reading import fields_of, read_records
from services.decision_fabric.state import DecisionOverlay
from sluice_contracts import Decoded
from sluice_kit.stage import Record
from sluice_kit.stage.input_basis import positions_behind

MOST_WAITING: Final = 20_000
"""Payments that wait for a snapshot at most; beyond, the oldest are decided without."""
MOST_EARLY: Final = 50_000
"""Snapshots that wait for a payment at most; beyond, the oldest are dropped and counted."""
MILLISECOND: Final = 1_000
_NO_SNAPSHOT: Final[tuple[int, Snapshot | None]] = (-1, None)


class Ready(NamedTuple):
    """A payment that is due, with its snapshot where there is one. `broken`: the step raised on it."""

    payment: Paid
    deadline: int
    snapshot: Snapshot | None
    broken: bool = False


class Intake:
    """One batch on its way into the overlay; afterwards `ready` holds the payments that are due."""

    def __init__(self, overlay: DecisionOverlay, policy: FabricPolicy, now: int) -> None:
        self._overlay = overlay
        self._open = overlay.open
        self._now = now
        self._policy = policy
        self._deadline = now + policy.deadline_ms * MILLISECOND
        self.ready: dict[str, Ready] = {}
        self.refused: Counter[str] = Counter()

    def take(self, records: Sequence[Record], poison: Mapping[int, str]) -> None:
        """Take every record in, in the order given; then see which deadlines have passed."""
        read = read_records(records)
        snapshots = self._snapshots(read, poison)
        self._open.positions |= positions_behind(records)
        decided = self._overlay.decided_among([found.key for found in read if isinstance(found, Paid)])
        for index, found in enumerate(read):
            if isinstance(found, Paid):
                if index in poison:
                    self.count("errors")
                if found.key in decided or found.key in self.ready or found.key in self._open.waiting:
                    self.count("repeated_payments")
                else:
                    self._payment(found, records[index], snapshots, broken=index in poison)
            elif found is None:
                self._refuse("UNREADABLE")
            elif index in poison:
                self._refuse("POISON")
            elif isinstance(found, Decoded):
                self._steer(found)
        for key, (index, _) in snapshots.items():
            self._open.early[key] = EarlySnapshot(fields_of(records[index]), self._now)
        self._forget_early()
        self._due()

    def count(self, name: str, by: int = 1) -> None:
        """Count something for the next service signal."""
        self._open.counts[name] = self._open.counts.get(name, 0) + by

    def _refuse(self, reason: str) -> None:
        self.refused[reason] += 1
        self.count("errors")

    def _steer(self, found: Decoded) -> None:
        fields = found.fields
        registry = self._overlay.registry
        match found.contract.event_type:
            case "bundle_activated":
                registry.put(f"bundle|{fields['payload']['scope']}", list(Activation.of(fields)))
            case "posture":
                registry.put(f"posture|{fields['payload']['scope']}", list(HeldPosture.of(fields)))
            case "list_changed":
                if not change_list(registry, fields):
                    self.count("list_full")
            case _:
                pass

    def _snapshots(
        self, read: Sequence[Arrived], poison: Mapping[int, str]
    ) -> dict[str, tuple[int, Snapshot]]:
        """This batch's usable snapshots and their places by payment; the first of a payment holds.

        One whose payment already waits makes that payment ready; one whose payment is decided changes
        nothing and is counted.
        """
        waiting, early = self._open.waiting, self._open.early
        decided = self._overlay.decided_among([found.key for found in read if isinstance(found, Snapshot)])
        fresh: dict[str, tuple[int, Snapshot]] = {}
        for index, snapshot in enumerate(read):
            if not isinstance(snapshot, Snapshot) or index in poison:
                continue
            key = snapshot.key
            if key in waiting:
                payment = waiting.pop(key)
                self.ready[key] = Ready(Paid.waited(payment), payment.deadline, snapshot)
            elif key in decided:
                self.count("late_snapshots")
            elif key in fresh or key in early or key in self.ready:
                self.count("repeated_snapshots")
            else:
                fresh[key] = index, snapshot
        return fresh

    def _payment(
        self, payment: Paid, record: Record, snapshots: dict[str, tuple[int, Snapshot]], *, broken: bool
    ) -> None:
        """One that comes for the first time is ready with its snapshot, or waits for it."""
        key, early = payment.key, self._open.early
        _, snapshot = snapshots.pop(key, _NO_SNAPSHOT)
        if snapshot is None and key in early:
            snapshot = Snapshot.waited(early.pop(key))
        if broken or snapshot is not None:
            self.ready[key] = Ready(payment, self._deadline, snapshot, broken)
        else:
            self._open.waiting[key] = Payment(
                fields_of(record), record.topic, record.partition, record.offset, self._now, self._deadline
            )

    def _forget_early(self) -> None:
        """Both maps run by age: the oldest stand first."""
        early = self._open.early
        horizon = self._now - self._policy.early_snapshot_ms * MILLISECOND
        excess = len(early) - MOST_EARLY
        gone = []
        for place, (key, snapshot) in enumerate(early.items()):
            if snapshot.seen >= horizon and place >= excess:
                break
            gone.append(key)
        for key in gone:
            del early[key]
        if gone:
            self.count("dropped_snapshots", len(gone))

    def _due(self) -> None:
        """Payments whose deadline has come, and the oldest beyond the bound, are due without a snapshot."""
        waiting = self._open.waiting
        excess = len(waiting) - MOST_WAITING
        due = []
        for place, (key, payment) in enumerate(waiting.items()):
            if payment.deadline > self._now and place >= excess:
                break
            due.append(key)
        for key in due:
            payment = waiting.pop(key)
            self.ready[key] = Ready(Paid.waited(payment), payment.deadline, None)
        if due:
            self.count("deadline_passed", len(due))
