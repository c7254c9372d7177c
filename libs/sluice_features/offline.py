"""A feature set over whole tables: the same definition and the same engine as online, in large steps.

Rows count as handed over in the order of their times, labels (by `observed_time`) ahead of payments at
ties, then in table order. Tables with a `position` column say themselves in which order they were handed
over, late rows included; the values are then what the online stage answered.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sluice_features.columns import Int64, Mask
from sluice_features.committed import Committed
from sluice_features.definition import FeatureSet
from sluice_features.errors import FeatureError
from sluice_features.layout import Layout
from sluice_features.overlay import FeatureOverlay
from sluice_features.tables import LabelTable, PaymentTable
from sluice_features.values import SnapshotMaker

CHUNK_ROWS = 65_536


class Executed(NamedTuple):
    """By feature (freshness: by its name) and payment, in the order of the table."""

    values: Int64
    missing: Mask
    freshness: Int64


def execute(
    feature_set: FeatureSet,
    payments: pa.Table,
    labels: pa.Table | None = None,
    *,
    subject: str = "row_key",
    chunk_rows: int = CHUNK_ROWS,
) -> Executed:
    """Every value of every payment; see `PaymentTable` and `LabelTable` for the columns.

    `subject` is the column by which a label names its payment.

    Raises:
        FeatureError: a column is missing or of another kind, or only one table has positions.
    """
    paid = PaymentTable(feature_set, payments)
    told = None if labels is None else LabelTable(feature_set, labels, paid, subject)
    features, fresh = len(feature_set.features), len(feature_set.freshness_names)
    executed = Executed(
        np.zeros((features, len(paid)), np.int64),
        np.zeros((features, len(paid)), np.bool_),
        np.zeros((fresh, len(paid)), np.int64),
    )
    layout = Layout(feature_set)
    maker, committed = SnapshotMaker(layout), Committed(layout)
    for pay_rows, pay_at, tell_rows, tell_at in _steps(paid, told, chunk_rows):
        overlay = FeatureOverlay(committed, maker)
        rows, graph = paid.rows(pay_rows, pay_at)
        found = overlay.observe(rows, told.rows(tell_rows, tell_at) if told else None, graph)
        committed.take_in(overlay.changes)
        for whole, part in zip(executed, (found.values, found.missing, found.freshness), strict=True):
            whole[:, pay_rows] = part
    return executed


def feature_table(feature_set: FeatureSet, executed: Executed) -> pa.Table:
    """One int64 column a feature, null where its value is missing, in the order of the payments."""
    rows = zip(feature_set.features, executed.values, executed.missing, strict=True)
    return pa.table({feature.name: pa.array(values, mask=missing) for feature, values, missing in rows})


def _steps(
    paid: PaymentTable, told: LabelTable | None, chunk_rows: int
) -> Iterator[tuple[Int64, Int64, Int64, Int64]]:
    """Rows of payments and labels of each step, and their positions in it."""
    order, labels = _handed_over(paid, told)
    for start in range(0, len(order), chunk_rows):
        rows = order[start : start + chunk_rows]
        tells = rows < labels
        yield rows[~tells] - labels, np.flatnonzero(~tells), rows[tells], np.flatnonzero(tells)


def _handed_over(paid: PaymentTable, told: LabelTable | None) -> tuple[Int64, int]:
    """All rows as they are handed over, labels numbered first; and how many labels there are."""
    tables = [table for table in (told, paid) if table is not None]
    positions = [table.position for table in tables if table.position is not None]
    if positions and len(positions) < len(tables):
        raise FeatureError("give both tables a column 'position', or neither")
    times = np.concatenate(positions or [table.times for table in tables])
    return times.argsort(kind="stable"), len(times) - len(paid)
