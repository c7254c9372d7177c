"""The events of a batch by run and in their order: by `ts_utc`, labels before payments, then by event id."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

from sluice_contracts import Decoded, contract_for, decode
from sluice_graph import PAYMENT_PATHS, Label, Payments
from sluice_kit.columnar import FlatColumns, read_flat
from sluice_kit.stage import Batch

PAYMENTS: Final = "traffic.payment"
LABELS: Final = "traffic.label"
POISON: Final = "POISON"
NO_EVENT: Final = "NO_EVENT"
_LABEL_KEYS: Final = tuple(None if path == "payload.ip_address" else path for path in PAYMENT_PATHS)
Scope = tuple[str, str]


@dataclass(slots=True)
class RunArrivals:
    """Events of one run. `labels` stand with the row of the payment that they come before."""

    event_ids: Sequence[str]
    partitions: Sequence[int]
    payments: Payments
    labels: Sequence[tuple[int, Label]]


@dataclass(slots=True)
class _Table:
    """Events of one type by columns, in the order of the batch."""

    paths: Sequence[str | None]
    scopes: list[Scope] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    event_ids: list[Any] = field(default_factory=list)
    ts_utc: list[Any] = field(default_factory=list)
    keys: list[list[Any]] = field(default_factory=list)
    payment_ids: list[Any] = field(default_factory=list)
    verdicts: list[Any] = field(default_factory=list)
    observed: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = [[] for _ in self.paths]

    def take(self, columns: FlatColumns, partitions: Sequence[int], *, labels: bool) -> None:
        """Events that were read by columns."""
        self.scopes += _scopes(columns)
        self.partitions += [partitions[row] for row in columns.rows]
        self.event_ids += columns.texts("event_id")
        self.ts_utc += columns.numbers("ts_utc")
        for column, path in zip(self.keys, self.paths, strict=True):
            column.extend([None] * len(columns.rows) if path is None else columns.texts(path))
        if labels:
            self.payment_ids += columns.texts("payload.payment_id")
            self.verdicts += columns.texts("payload.label")
            self.observed += columns.numbers("payload.observed_time")

    def add(self, fields: Mapping[str, Any], partition: int, *, labels: bool) -> None:
        """One event that was decoded alone."""
        self.scopes.append((fields["tenant"], fields["run_id"]))
        self.partitions.append(partition)
        self.event_ids.append(fields["event_id"])
        self.ts_utc.append(fields["ts_utc"])
        for column, path in zip(self.keys, self.paths, strict=True):
            column.append(None if path is None else reduce(_step, path.split("."), fields))
        if labels:
            payload = fields["payload"]
            self.payment_ids.append(payload["payment_id"])
            self.verdicts.append(payload["label"])
            self.observed.append(payload["observed_time"])

    def rows_by_run(self) -> dict[Scope, list[int]]:
        """Rows of each run in their order."""
        if not self.scopes:
            return {}
        moments = list(zip(self.ts_utc, self.event_ids, strict=True))
        rows = sorted(range(len(moments)), key=moments.__getitem__)
        found: dict[Scope, list[int]] = {}
        for row in rows:
            found.setdefault(self.scopes[row], []).append(row)
        return found

    def label(self, row: int) -> Label:
        """A row of a table of labels."""
        keys = tuple(column[row] for column in self.keys)
        return Label(self.payment_ids[row], self.verdicts[row] == "FRAUD", self.observed[row], keys)


def arrivals(batch: Batch) -> tuple[dict[Scope, RunArrivals], Counter[str]]:
    """What arrived for each run, runs in order of tenant and name; and what was refused, by reason."""
    refused: Counter[str] = Counter()
    payments = _read(batch, PAYMENTS, "payment", PAYMENT_PATHS, refused)
    labels = _read(batch, LABELS, "label", _LABEL_KEYS, refused)
    paid, labelled = payments.rows_by_run(), labels.rows_by_run()
    found = {}
    for scope in sorted(paid.keys() | labelled.keys()):
        rows = paid.get(scope, [])
        times = _pick(payments.ts_utc, rows)
        found[scope] = RunArrivals(
            _pick(payments.event_ids, rows),
            _pick(payments.partitions, rows),
            Payments(times, [_pick(column, rows) for column in payments.keys]),
            [(bisect_left(times, labels.ts_utc[row]), labels.label(row)) for row in labelled.get(scope, [])],
        )
    return found, refused


def _read(
    batch: Batch, topic: str, event_type: str, paths: Sequence[str | None], refused: Counter[str]
) -> _Table:
    table = _Table(paths)
    labels = event_type == "label"
    records = [
        record
        for row, record in enumerate(batch.records)
        if record.topic == topic and row not in batch.poison
    ]
    refused[POISON] += sum(batch.records[row].topic == topic for row in batch.poison)
    values = [record.value for record in records]
    partitions = [record.partition for record in records]
    columns, alone = read_flat(contract_for(event_type, 1), values)
    if columns is not None:
        table.take(columns, partitions, labels=labels)
    for row in alone:
        found = decode(values[row] or b"")
        if isinstance(found, Decoded) and found.contract.event_type == event_type:
            table.add(found.fields, partitions[row], labels=labels)
        else:
            refused[NO_EVENT] += 1
    return table


def _scopes(columns: FlatColumns) -> list[Any]:
    if columns.alike("tenant", "run_id"):
        return [(columns.value("tenant", 0), columns.value("run_id", 0))] * len(columns)
    return list(zip(columns.texts("tenant"), columns.texts("run_id"), strict=True))


def _pick(column: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    return [column[row] for row in rows]


def _step(value: Any, part: str) -> Any:
    return value.get(part) if isinstance(value, Mapping) else None
