"""The table that a model learns from: one row a payment, integer features, a null where one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sluice_decisions.model import Int64, Matrix

Mask = NDArray[np.bool_]
LABEL = "is_fraud"
TIME = "ts_utc"
CUSTOMER = "customer_id"
EXACT = 2**53


class TableProblem(ValueError):
    """The table cannot be learnt from; says which column and why."""


@dataclass(frozen=True, slots=True)
class LabelledTable:
    """`rows` (payments, features), NaN where missing; `times` in microseconds UTC; `customers` by number."""

    features: tuple[str, ...]
    rows: Matrix
    frauds: Mask
    times: Int64
    customers: Int64

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, chosen: Mask) -> LabelledTable:
        """The rows of a mask."""
        return LabelledTable(
            self.features,
            np.ascontiguousarray(self.rows[chosen]),
            self.frauds[chosen],
            self.times[chosen],
            self.customers[chosen],
        )

    @classmethod
    def of(
        cls,
        features: tuple[str, ...],
        values: Int64,
        missing: Mask,
        *,
        frauds: Mask,
        times: Int64,
        customers: Int64,
    ) -> LabelledTable:
        """From integers (payments, features) and the mask of those that are missing."""
        if np.abs(values, where=~missing, out=np.zeros_like(values)).max(initial=0) > EXACT:
            raise TableProblem("a value is beyond 2**53, where doubles are no longer exact")
        rows = values.astype(np.float64)
        rows[missing] = np.nan
        return cls(features, rows, frauds.astype(np.bool_), times.astype(np.int64), customers)

    @classmethod
    def from_arrow(cls, table: pa.Table, features: tuple[str, ...]) -> LabelledTable:
        """From named columns; `is_fraud`, `ts_utc` and `customer_id` stand beside the features.

        Raises TableProblem for a column that is absent, not of integers, or has a null where none may be.
        """
        absent = [name for name in (*features, LABEL, TIME, CUSTOMER) if name not in table.column_names]
        if absent:
            raise TableProblem(f"columns are missing: {', '.join(absent)}")
        columns = [_integers(table[name], name) for name in features]
        missing = np.column_stack([table[name].is_null().to_numpy() for name in features])
        customers = table[CUSTOMER].combine_chunks().dictionary_encode().indices
        return cls.of(
            features,
            np.column_stack(columns),
            missing,
            frauds=_whole(table[LABEL].cast(pa.bool_()), LABEL),
            times=_whole(_times(table[TIME]), TIME),
            customers=_whole(customers.cast(pa.int64()), CUSTOMER),
        )

    @classmethod
    def read(cls, path: Path, features: tuple[str, ...]) -> LabelledTable:
        """From a Parquet file; see `from_arrow`."""
        return cls.from_arrow(pq.read_table(path), features)


def _integers(column: pa.ChunkedArray, name: str) -> Int64:
    if not pa.types.is_integer(column.type) and not pa.types.is_boolean(column.type):
        raise TableProblem(f"{name}: {column.type} is no integer; features are integers at a stated scale")
    filled: Int64 = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    return filled


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    return column.cast(pa.int64())


def _whole(column: pa.ChunkedArray | pa.Array, name: str) -> Any:
    if column.null_count:
        raise TableProblem(f"{name}: {column.null_count} rows have none")
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.to_numpy(zero_copy_only=False)
