"""A batch of a user's rows to payments and labels: good rows in columns, bad ones with their reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluice_oracle.columns import LABEL_SCHEMA, PAYMENT_SCHEMA, TIMESTAMP
from sluice_oracle.importer.labelling import label_events, labelled_rows
from sluice_oracle.importer.mapping import LabelSpec, Mapping
from sluice_oracle.importer.sources import SourceBatch
from sluice_oracle.importer.values import Converted, mapped_text, minor_units, truth_values, utc_times
from sluice_oracle.traffic_rules import LABEL_RULES, PAYMENT_RULES, broken_rules

LABEL_COLUMNS = [name for name in LABEL_SCHEMA.names if name != "row_key"]
_DAY_MICROS = 86_400_000_000
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row was rejected: the field, the rule, and what the source held for it."""

    column: str
    rule: str
    value: str

    @property
    def name(self) -> str:
        """Short and stable, for counting: `amount_minor: range`."""
        return f"{self.column}: {self.rule}"


@dataclass(frozen=True, slots=True)
class BadRow:
    """One rejected row: its number in the source and every reason."""

    number: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class ConvertedBatch:
    """Good rows (payment columns, then label columns where mapped), their numbers, and the bad rows."""

    rows: pa.RecordBatch
    numbers: npt.NDArray[np.int64]
    bad: tuple[BadRow, ...]


def convert(batch: SourceBatch, mapping: Mapping) -> ConvertedBatch:
    """Apply the mapping and the contract's rules to a batch. Never raises for what a row holds."""
    work = _Conversion(batch.columns)
    work.take("ts_utc", utc_times(mapping.ts_utc, work.source), "not a time")
    work.take("row_key", mapped_text(mapping.primary_key, work.source), "not a listed text")
    work.take("amount_minor", minor_units(mapping.amount_minor, work.source), "not an amount")
    for name, spec in mapping.columns.items():
        work.take(name, mapped_text(spec, work.source), "not a listed text")
    names = PAYMENT_SCHEMA.names
    for field in PAYMENT_SCHEMA:
        work.arrays.setdefault(field.name, pa.nulls(work.count, field.type))
    payments = pa.RecordBatch.from_arrays([work.arrays[name] for name in names], names)
    for broken in broken_rules(payments, PAYMENT_RULES):
        work.reject(broken.rows, broken.column, broken.rule)
    if mapping.labels is not None:
        _take_labels(work, mapping.labels)
        names = [*names, *LABEL_COLUMNS]
        _check_label_events(work, mapping.labels)
    good = np.ones(work.count, np.bool_)
    good[list(work.found)] = False
    rows = pa.RecordBatch.from_arrays([work.arrays[name] for name in names], names).filter(pa.array(good))
    return ConvertedBatch(rows, batch.numbers[good], _bad_rows(batch, mapping, work))


class _Conversion:
    """Columns made so far, and the rules that each row breaks."""

    def __init__(self, source: pa.RecordBatch) -> None:
        self.source = source
        self.count = source.num_rows
        self.arrays: dict[str, pa.Array] = {}
        self.found: dict[int, dict[str, str]] = {}

    def take(self, name: str, converted: Converted, rule: str) -> None:
        self.arrays[name], wrong = converted
        self.reject(np.flatnonzero(wrong), name, rule)

    def reject(self, rows: npt.NDArray[np.int64], column: str, rule: str) -> None:
        """Note a broken rule; the first one of a column counts (a bad value is null afterwards)."""
        for row in rows.tolist():
            self.found.setdefault(row, {}).setdefault(column, rule)


def _take_labels(work: _Conversion, labels: LabelSpec) -> None:
    work.take("is_fraud", truth_values(labels.is_fraud, work.source), "not true or false")
    if labels.scenario is not None:
        work.take("scenario", mapped_text(labels.scenario, work.source), "not a listed text")
    else:
        work.arrays["scenario"] = pc.if_else(work.arrays["is_fraud"], "fraud", "none")
    times = work.arrays["ts_utc"]
    if labels.effective_time is not None:
        work.take("effective_time", utc_times(labels.effective_time, work.source), "not a time")
    else:
        work.arrays["effective_time"] = times
    if labels.observed_time is not None:
        work.take("observed_time", utc_times(labels.observed_time, work.source), "not a time")
    else:
        delayed = pc.add(times.cast(pa.int64()), labels.delay_days * _DAY_MICROS)
        work.arrays["observed_time"] = delayed.cast(TIMESTAMP)
    for name in LABEL_COLUMNS:
        missing = np.flatnonzero(work.arrays[name].is_null().to_numpy(zero_copy_only=False))
        # a row that is rejected already may lack values for that very reason
        work.reject(np.array([row for row in missing if row not in work.found], np.int64), name, "required")


def _check_label_events(work: _Conversion, labels: LabelSpec) -> None:
    """A good payment whose label could not travel is rejected: its key is too long, its time out of range."""
    good = np.ones(work.count, np.bool_)
    good[list(work.found)] = False
    numbers = np.flatnonzero(good)
    rows = pa.RecordBatch.from_pydict(work.arrays).take(pa.array(numbers))
    numbers = numbers[labelled_rows(rows, labels.traffic)]
    for broken in broken_rules(label_events(rows, labels.traffic), LABEL_RULES):
        if broken.column not in {"ts_utc", "row_key"}:  # said of observed_time and label_id already
            work.reject(numbers[broken.rows], broken.column, broken.rule)


def _bad_rows(batch: SourceBatch, mapping: Mapping, work: _Conversion) -> tuple[BadRow, ...]:
    return tuple(
        BadRow(
            int(batch.numbers[row]),
            tuple(
                Reason(column, rule, _as_it_came(work.source, row, _sources(mapping, column)))
                for column, rule in work.found[row].items()
            ),
        )
        for row in sorted(work.found)
    )


def _sources(mapping: Mapping, column: str) -> list[str]:
    """The input columns behind a field."""
    if column in {"row_key", "label_id"}:
        return mapping.primary_key.source_columns()
    if column in {"ts_utc", "amount_minor"}:
        return [getattr(mapping, column).column]
    if column in mapping.columns:
        return mapping.columns[column].source_columns()
    spec = getattr(mapping.labels, column, None)
    return spec.source_columns() if spec is not None else []


def _as_it_came(source: pa.RecordBatch, row: int, names: list[str]) -> str:
    values = [source.column(name)[row].as_py() for name in names]
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
    shown = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
