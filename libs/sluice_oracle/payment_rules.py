"""The payment contract's field rules over whole columns; a test holds them against its own check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_ID = "[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
_FORMATS = {
    "row_key": _ID,
    "payment_id": _ID,
    "customer_id": _ID,
    "terminal_id": _ID,
    "currency": "[A-Z]{3}",
    "account_id": _ID,
    "card_id": _ID,
    "merchant_id": _ID,
    "merchant_category": "[0-9]{4}",
    "channel": "(?:pos|ecom|atm|moto)",
    "device_id": _ID,
    "country": "[A-Z]{2}",
    "ip_address": "[0-9A-Fa-f.:]{2,45}",
}
REQUIRED = ("ts_utc", "row_key", "payment_id", "customer_id", "terminal_id", "amount_minor", "currency")
MAX_AMOUNT_MINOR = 1_000_000_000_000_000
MAX_TS_MICROS = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """Rows of one batch that break one rule; `rows` are indices into the batch."""

    column: str
    rule: str
    rows: np.ndarray[tuple[int], np.dtype[np.int64]]

    @property
    def reason(self) -> str:
        """A short stable name for counting: `amount_minor: range`."""
        return f"{self.column}: {self.rule}"


def broken_rules(batch: pa.RecordBatch) -> Iterator[BrokenRule]:
    """Every rule that rows of a PAYMENT_SCHEMA batch break, in column order. Text may be a dictionary."""
    for name in batch.schema.names:
        column = batch.column(name)
        if name in REQUIRED and column.null_count:
            yield BrokenRule(name, "required", _rows(column.is_null()))
        if name == "ts_utc":
            micros = column.cast(pa.int64())
            yield from _outside(name, micros, 0, MAX_TS_MICROS)
        elif name == "amount_minor":
            yield from _outside(name, column, 0, MAX_AMOUNT_MINOR)
        elif name in _FORMATS:
            bad = _bad_format(column, f"^(?:{_FORMATS[name]})$")
            if bad is not None:
                yield BrokenRule(name, "format", _rows(bad))


def _outside(name: str, column: pa.Array, low: int, high: int) -> Iterator[BrokenRule]:
    bad = pc.or_(pc.less(column, low), pc.greater(column, high)).fill_null(False)
    if pc.any(bad).as_py():
        yield BrokenRule(name, "range", _rows(bad))


def _bad_format(column: pa.Array, pattern: str) -> pa.BooleanArray | None:
    """Mask of the present values that do not match, None when all do."""
    if pa.types.is_dictionary(column.type):
        bad_entries = pc.invert(pc.match_substring_regex(column.dictionary, pattern))
        if not pc.any(bad_entries).as_py():
            return None
        bad = pc.take(bad_entries, column.indices).fill_null(False)
        return bad if pc.any(bad).as_py() else None
    bad = pc.invert(pc.match_substring_regex(column, pattern)).fill_null(False)
    return bad if pc.any(bad).as_py() else None


def _rows(mask: pa.BooleanArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))
