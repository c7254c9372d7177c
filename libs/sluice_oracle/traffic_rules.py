"""The contracts' field rules over whole columns of traffic; a test holds them against their own check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_ID = "[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
MAX_AMOUNT_MINOR: Final = 1_000_000_000_000_000
MAX_TS_MICROS: Final = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""
_TIME = (0, MAX_TS_MICROS)


@dataclass(frozen=True, slots=True)
class TrafficRules:
    """What holds for the columns of one event type: present, a text format, between two numbers, equal."""

    required: tuple[str, ...]
    formats: Mapping[str, str]
    ranges: Mapping[str, tuple[int, int]]
    same: Mapping[str, str] = field(default_factory=dict)


PAYMENT_RULES: Final = TrafficRules(
    required=("ts_utc", "row_key", "payment_id", "customer_id", "terminal_id", "amount_minor", "currency"),
    formats={
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
    },
    ranges={"ts_utc": _TIME, "amount_minor": (0, MAX_AMOUNT_MINOR)},
)

LABEL_RULES: Final = TrafficRules(
    required=(
        "ts_utc",
        "row_key",
        "label_id",
        "payment_id",
        "customer_id",
        "terminal_id",
        "label",
        "effective_time",
        "observed_time",
        "source",
    ),
    formats={
        "row_key": _ID,
        "label_id": _ID,
        "payment_id": _ID,
        "customer_id": _ID,
        "terminal_id": _ID,
        "account_id": _ID,
        "card_id": _ID,
        "merchant_id": _ID,
        "device_id": _ID,
        "label": "(?:FRAUD|LEGIT)",
        "source": _ID,
    },
    ranges={"ts_utc": _TIME, "effective_time": _TIME, "observed_time": _TIME},
    same={"ts_utc": "observed_time"},  # a label that came earlier would be known before it was learnt
)

TRAFFIC_RULES: Final[Mapping[str, TrafficRules]] = {"payment": PAYMENT_RULES, "label": LABEL_RULES}
"""The rules of each event type that a world may hold as traffic."""


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


def broken_rules(batch: pa.RecordBatch, rules: TrafficRules) -> Iterator[BrokenRule]:
    """Every rule that rows of a batch break, in column order. Text may be a dictionary."""
    for name in batch.schema.names:
        column = batch.column(name)
        if name in rules.required and column.null_count:
            yield BrokenRule(name, "required", _rows(column.is_null()))
        if name in rules.ranges:
            yield from _outside(name, column.cast(pa.int64()), *rules.ranges[name])
        elif name in rules.formats:
            bad = _bad_format(column, f"^(?:{rules.formats[name]})$")
            if bad is not None:
                yield BrokenRule(name, "format", _rows(bad))
        if name in rules.same:
            other = rules.same[name]
            differs = pc.not_equal(column, batch.column(other)).fill_null(False)
            if pc.any(differs).as_py():
                yield BrokenRule(name, f"not {other}", _rows(differs))


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
