"""Applied batches as rows: what is sealed, and what a state is built from again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sluice_features.columns import Int64, Payments, Scope
from sluice_features.layout import Layout, SeriesKind
from sluice_features.scope_book import LabelEntry
from sluice_features.segments import column_of
from sluice_features.window_values import limited_amounts
from sluice_kit.stage.giving_way import restfully


class AppliedBatch(NamedTuple):
    """What one batch added; `numbers` are those of its scopes."""

    payments: Sequence[Payments]
    labels: Sequence[LabelEntry]
    numbers: Mapping[Scope, int]


class RowSchemas(NamedTuple):
    """Columns of sealed payments and labels: keys only of the entities that series are kept for."""

    payments: pa.Schema
    labels: pa.Schema

    @classmethod
    def of(cls, layout: Layout) -> "RowSchemas":
        """The columns that a feature set needs."""
        payments = [pa.field(name, pa.int64(), nullable=False) for name in ("scope", "ts_utc", "amount")]
        names = ("scope", "effective_time", "seen", "weight")
        labels = [pa.field(name, pa.int64(), nullable=False) for name in names]
        labels.append(pa.field("subject", pa.string(), nullable=False))
        return cls(
            pa.schema([*payments, *_key_fields(layout.payments.kinds)]),
            pa.schema([*labels, *_key_fields(layout.labels.kinds)]),
        )


def _key_fields(kinds: Sequence[SeriesKind]) -> list[pa.Field]:
    return [pa.field(f"key_{kind.entity}", pa.string()) for kind in kinds]


def payment_rows(batches: Sequence[AppliedBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Payments of applied batches, one record batch a step: no call holds the interpreter for long."""
    for batch in restfully(batches):
        for payments in batch.payments:
            keys = [payments.entities[name.removeprefix("key_")] for name in schema.names[3:]]
            yield pa.record_batch(
                [
                    _numbers(batch, payments.scopes),
                    payments.ts_utc,
                    limited_amounts(payments.amount),
                    *(pa.array(column, pa.string()) for column in keys),
                ],
                schema=schema,
            )


def _numbers(batch: AppliedBatch, scopes: Sequence[Scope]) -> Int64:
    if len(batch.numbers) == 1:
        return np.full(len(scopes), next(iter(batch.numbers.values())), np.int64)
    return np.fromiter(map(batch.numbers.__getitem__, scopes), np.int64, len(scopes))


def label_rows(batches: Sequence[AppliedBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """What labels changed, one record batch an applied batch."""
    for batch in restfully(batches):
        rows = [
            (batch.numbers[one.scope], one.effective_time, one.seen, one.weight, one.subject, *one.keys)
            for one in batch.labels
        ]
        if rows:
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
            yield pa.record_batch(arrays, schema=schema)


def payments_of(table: pa.Table, scopes: Mapping[int, Scope]) -> Payments:
    """Sealed rows as payments again."""
    keys = {
        name.removeprefix("key_"): table.column(name).to_pylist()
        for name in table.column_names
        if name.startswith("key_")
    }
    numbers = column_of(table, "scope").tolist()
    ts_utc, amount = (column_of(table, name) for name in ("ts_utc", "amount"))
    return Payments([scopes[number] for number in numbers], ts_utc, amount, keys)


def entries_of(table: pa.Table, scopes: Mapping[int, Scope]) -> list[LabelEntry]:
    """Sealed rows as label entries again."""
    names = ("scope", "subject", "effective_time", "seen", "weight")
    columns = [table.column(name).to_pylist() for name in names]
    keys = [table.column(name).to_pylist() for name in table.column_names if name.startswith("key_")]
    rows = zip(*columns, zip(*keys, strict=True), strict=True)
    return [
        LabelEntry(scopes[scope], subject, tuple(own), effective, seen, weight, 0)
        for scope, subject, effective, seen, weight, own in rows
    ]
