"""Taking a batch's records in: what steers, payments to decide, snapshots to decide them by. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from services.decision_fabric.lists import change_list
from services.decision_fabric.model import Activation, EarlySnapshot, Fields, HeldPosture, Payment, event_key
from services.decision_fabric.policy import FabricPolicy
from services.decision_fabric.state import DecisionOverlay
from sluice_contracts import Decoded, decode
from sluice_kit.stage import Record
from sluice_kit.stage.input_basis import positions_behind

MOST_WAITING: Final = 20_000
"""Payments that wait for a snapshot at most; beyond, the oldest are decided without."""
MOST_EARLY: Final = 50_000
"""Snapshots that wait for a payment at most; beyond, the oldest are dropped and counted."""
MILLISECOND: Final = 1_000
READ: Final = frozenset({"bundle_activated", "posture", "list_changed", "payment", "feature_snapshot"})


class Ready(NamedTuple):
    """A payment that is due, with its snapshot where there is one. `broken`: the step raised on it."""

    payment: Payment
    snapshot: Fields | None
    broken: bool = False


def read_records(records: Sequence[Record]) -> list[Decoded | None]:
    """What each record says, None for what is no event of ours. Needs no state: it may run ahead."""
    read: list[Decoded | None] = []
    for record in records:
        found = decode(record.value)
        read.append(found if isinstance(found, Decoded) and found.contract.event_type in READ else None)
    return read


class Intake:
    """One batch on its way into the overlay; afterwards `ready` holds the payments that are due."""

    def __init__(self, overlay: DecisionOverlay, policy: FabricPolicy, now: int) -> None:
        self._overlay = overlay
        self._open = overlay.open
        self._now = now
        self._policy = policy
        self.ready: dict[str, Ready] = {}
        self.refused: Counter[str] = Counter()

    def take(
        self, records: Sequence[Record], read: Sequence[Decoded | None], poison: Mapping[int, str]
    ) -> None:
        """Take every record in, in the order given; then see which deadlines have passed."""
        snapshots = self._snapshots(read, poison)
        self._open.positions |= positions_behind(records)
        for index, (record, found) in enumerate(zip(records, read, strict=True)):
            if found is None:
                self._refuse("UNREADABLE")
            elif found.contract.event_type == "payment":
                self._payment(record, found.fields, snapshots, broken=index in poison)
            elif index in poison:
                self._refuse("POISON")
            else:
                self._steer(found)
        for key, fields in snapshots.items():
            self._open.early[key] = EarlySnapshot(fields, self._now)
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

    def _snapshots(self, read: Sequence[Decoded | None], poison: Mapping[int, str]) -> dict[str, Fields]:
        """This batch's usable snapshots by payment; the first of a payment holds.

        One whose payment already waits makes that payment ready; one whose payment is decided changes
        nothing and is counted.
        """
        waiting, early = self._open.waiting, self._open.early
        fresh: dict[str, Fields] = {}
        for index, found in enumerate(read):
            if found is None or found.contract.event_type != "feature_snapshot" or index in poison:
                continue
            fields = found.fields
            key = event_key(fields["tenant"], fields["run_id"], fields["event_id"])
            if key in waiting:
                self.ready[key] = Ready(waiting.pop(key), fields)
            elif self._overlay.is_decided(key):
                self.count("late_snapshots")
            elif key in fresh or key in early or key in self.ready:
                self.count("repeated_snapshots")
            else:
                fresh[key] = fields
        return fresh

    def _payment(self, record: Record, fields: Fields, snapshots: dict[str, Fields], *, broken: bool) -> None:
        key = event_key(fields["tenant"], fields["run_id"], fields["event_id"])
        if key in self.ready or key in self._open.waiting or self._overlay.is_decided(key):
            self.count("repeated_payments")
            return
        deadline = self._now + self._policy.deadline_ms * MILLISECOND
        payment = Payment(fields, record.topic, record.partition, record.offset, self._now, deadline)
        snapshot = snapshots.pop(key, None)
        if snapshot is None and (early := self._open.early.pop(key, None)) is not None:
            snapshot = early.fields
        if broken or snapshot is not None:
            self.ready[key] = Ready(payment, snapshot, broken)
        else:
            self._open.waiting[key] = payment

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
            self.ready[key] = Ready(waiting.pop(key), None)
        if due:
            self.count("deadline_passed", len(due))
