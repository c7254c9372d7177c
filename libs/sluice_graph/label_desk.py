"""What labels say of payments: the one observed last holds; at the same moment FRAUD holds, in dispute."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sluice_graph.drafting import GraphDraft
from sluice_graph.policy import DAY, GraphPolicy
from sluice_graph.scope_graph import LabelRecord

NOTHING_OBSERVED: Final = -1


class Label(NamedTuple):
    """A label; `keys` are the values of all kinds, None where it names none. Times in microseconds."""

    payment_id: str
    fraud: bool
    observed_time: int
    keys: Sequence[str | None]


class LabelDesk:
    """A batch's labels of one run.

    A payment that nobody ever called fraud is not remembered; nor is one whose last label was observed
    longer than `correction_days` before the newest label of the run: its marks stay.
    """

    def __init__(self, draft: GraphDraft, policy: GraphPolicy, newest: int) -> None:
        self._draft = draft
        self._marked = policy.numbers_of(policy.marks)
        self._memory = policy.correction_days * DAY
        self.newest = newest
        self.records: dict[str, LabelRecord] = {}
        self.marks: dict[int, int] = {}
        self.disputes: dict[int, int] = {}

    @property
    def horizon(self) -> int:
        """Records observed before this time are forgotten."""
        return self.newest - self._memory

    def take(self, label: Label) -> None:
        """Judge a label."""
        self.newest = max(self.newest, label.observed_time)
        known = self._record(label.payment_id)
        if known is None:
            if label.fraud:
                numbers = [self._draft.number(kind, label.keys[kind]) for kind in self._marked]
                entities = tuple(number for number in numbers if number >= 0)
                self._hold(label.payment_id, None, LabelRecord(label.observed_time, True, False, entities))
        elif label.observed_time > known.observed_time:
            record = LabelRecord(label.observed_time, label.fraud, False, known.entities)
            self._hold(label.payment_id, known, record)
        elif label.observed_time == known.observed_time and label.fraud != known.fraud:
            record = LabelRecord(known.observed_time, True, True, known.entities)
            self._hold(label.payment_id, known, record)

    def _record(self, payment_id: str) -> LabelRecord | None:
        record = self.records.get(payment_id) or self._draft.graph.labels.get(payment_id)
        return None if record is None or record.observed_time < self.horizon else record

    def _hold(self, payment_id: str, before: LabelRecord | None, record: LabelRecord) -> None:
        self.records[payment_id] = record
        was_fraud, was_disputed = (before.fraud, before.disputed) if before is not None else (False, False)
        for entity in record.entities:
            if record.disputed != was_disputed:
                change = 1 if record.disputed else -1
                self.disputes[entity] = _now(self.disputes, self._draft.graph.label_disputes, entity) + change
            if record.fraud != was_fraud:
                self._mark(entity, 1 if record.fraud else -1)

    def _mark(self, entity: int, change: int) -> None:
        before = _now(self.marks, self._draft.graph.marks, entity)
        self.marks[entity] = before + change
        if before == 0:
            self._draft.approach(entity, 0)
        elif before + change == 0:
            self._draft.withdraw(entity)


def _now(changes: Mapping[int, int], committed: Mapping[int, int], entity: int) -> int:
    return changes[entity] if entity in changes else committed.get(entity, 0)
