"""Taking a batch's records in: what steers, payments to decide, snapshots to decide them by. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from services.decision_fabric.arrivals import Paid, Snapshot, fields_of, read_records
from services.decision_fabric.lists import change_list
from services.decision_fabric.model import Activation, EarlySnapshot, HeldPosture, Payment
from services.decision_fabric.policy import FabricPolicy
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
        self.ready: dict[str, Ready] = {}
        self.refused: Counter[str] = Counter()

    def take(self, records: Sequence[Record], poison: Mapping[int, str]) -> None:
        """Take every record in, in the order given; then see which deadlines have passed."""
        arrived = read_records(records)
        snapshots = self._snapshots(arrived.snapshots, poison)
        self._open.positions |= positions_behind(records)
        for index, found in arrived.others:
            if found is None:
                self._refuse("UNREADABLE")
            elif index in poison:
                self._refuse("POISON")
            else:
                self._steer(found)
        self._payments(arrived.payments, records, snapshots, poison)
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
        self, arrived: Sequence[tuple[int, Snapshot | None]], poison: Mapping[int, str]
    ) -> dict[str, tuple[int, Snapshot]]:
        """This batch's usable snapshots and their places by payment; the first of a payment holds.

        One whose payment already waits makes that payment ready; one whose payment is decided changes
        nothing and is counted.
        """
        waiting, early = self._open.waiting, self._open.early
        decided = self._overlay.decided_among(snapshot.key for _, snapshot in arrived if snapshot is not None)
        fresh: dict[str, tuple[int, Snapshot]] = {}
        for index, snapshot in arrived:
            if snapshot is None:
                self._refuse("UNREADABLE")
                continue
            if index in poison:
                self._refuse("POISON")
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

    def _payments(
        self,
        arrived: Sequence[tuple[int, Paid | None]],
        records: Sequence[Record],
        snapshots: dict[str, tuple[int, Snapshot]],
        poison: Mapping[int, str],
    ) -> None:
        """Payments that come for the first time are ready with their snapshot, or wait for it."""
        ready, waiting, early = self.ready, self._open.waiting, self._open.early
        decided = self._overlay.decided_among(payment.key for _, payment in arrived if payment is not None)
        deadline = self._now + self._policy.deadline_ms * MILLISECOND
        for index, payment in arrived:
            if payment is None:
                self._refuse("UNREADABLE")
                continue
            key = payment.key
            if key in ready or key in waiting or key in decided:
                self.count("repeated_payments")
                continue
            _, snapshot = snapshots.pop(key, _NO_SNAPSHOT)
            if snapshot is None and key in early:
                snapshot = Snapshot.waited(early.pop(key))
            broken = index in poison
            if broken or snapshot is not None:
                ready[key] = Ready(payment, deadline, snapshot, broken)
            else:
                topic, partition, offset = records[index][:3]
                fields = fields_of(records[index])
                waiting[key] = Payment(fields, topic, partition, offset, self._now, deadline)

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
