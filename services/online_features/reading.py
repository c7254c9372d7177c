"""From records to columns: payments, labels and graph contexts of a step. What cannot be read is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from sluice_contracts import Decoded, contract_for, decode
from sluice_features.columns import Int64, Scope, scopes_of
from sluice_features.event_fields import DecodedEvents, EventColumns
from sluice_kit.columnar import read_flat
from sluice_kit.stage import Record

PAYMENT, LABEL, CONTEXT = (contract_for(name) for name in ("payment", "label", "graph_context"))
TOPIC_OF: Final = {
    "traffic.payment": PAYMENT,
    "traffic.label": LABEL,
    "state.entity_graph.context": CONTEXT,
}
PAYMENTS: Final = "traffic.payment"
LABELS: Final = "traffic.label"
CONTEXTS: Final = "state.entity_graph.context"


@dataclass(frozen=True, slots=True)
class Arrived:
    """Events of one contract, in the order in which they stood in the batch."""

    scopes: list[Scope] = field(default_factory=list)
    event_ids: list[str] = field(default_factory=list)
    ts_utc: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    events: EventColumns = field(default_factory=lambda: DecodedEvents(()))
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.event_ids)


class Read(NamedTuple):
    """What a step was given, and how many records were none of it."""

    payments: Arrived
    labels: Arrived
    contexts: Arrived
    errors: int


def read_records(records: Sequence[Record], poison: Mapping[int, str]) -> Read:
    """Read what a batch brings of payments; poisoned records and those that do not decode count as errors."""
    by_topic: dict[str, list[Record]] = {topic: [] for topic in TOPIC_OF}
    errors = len(poison)
    for number, record in enumerate(records):
        if number not in poison and record.topic in by_topic:
            by_topic[record.topic].append(record)
    read = {}
    for topic, found in by_topic.items():
        read[topic], broken = _arrived(topic, found)
        errors += broken
    return Read(read[PAYMENTS], read[LABELS], read[CONTEXTS], errors)


def _arrived(topic: str, records: list[Record]) -> tuple[Arrived, int]:
    """Read in columns where all records allow it, else one by one."""
    if not records:
        return Arrived(), 0
    contract = TOPIC_OF[topic]
    columns, odd = read_flat(contract, [record.value for record in records])
    if columns is not None and not odd:
        if columns.alike("tenant", "run_id"):
            scope = Scope(str(columns.value("tenant", 0)), str(columns.value("run_id", 0)))
            return _with_places(columns, [scope] * len(records), records), 0
        return _with_places(columns, _scopes(columns), records), 0
    decoded = [decode(record.value) for record in records]
    sound = [
        (record, found.fields)
        for record, found in zip(records, decoded, strict=True)
        if isinstance(found, Decoded) and found.contract is contract
    ]
    events = DecodedEvents([fields for _, fields in sound])
    kept = [record for record, _ in sound]
    return _with_places(events, _scopes(events), kept), len(records) - len(kept)


def _scopes(events: EventColumns) -> list[Scope]:
    return scopes_of(events.texts("tenant"), events.texts("run_id"))


def _with_places(events: EventColumns, scopes: list[Scope], records: list[Record]) -> Arrived:
    ids: list[Any] = list(events.texts("event_id"))
    times = np.array(events.numbers("ts_utc"), np.int64)
    return Arrived(
        scopes, ids, times, events, [one.partition for one in records], [one.offset for one in records]
    )
