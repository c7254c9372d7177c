"""A table executed at once gives what the online stage answered, and what the definition says."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_features import FeatureError, FeatureState
from sluice_features.offline import Executed, execute, feature_table
from tests.unit.features.by_hand import SECOND, Event, Pay, Tell, values_of
from tests.unit.features.histories import CUTS, SCOPES, START, histories, play, small_set

SET = small_set()


def tables(
    events: Sequence[Event], *, positions: bool = True, keys: bool = True
) -> tuple[pa.Table, pa.Table]:
    """Payments and labels as tables, in the order of handing over, which they state when asked to."""
    pays = [(row, event) for row, event in enumerate(events) if isinstance(event, Pay)]
    tells = [(row, event) for row, event in enumerate(events) if isinstance(event, Tell)]
    payments: dict[str, list[Any]] = {
        "row_key": [f"p{number}" for number in range(len(pays))],
        "ts_utc": [pay.ts for _, pay in pays],
        "amount_minor": [pay.amount for _, pay in pays],
        "customer_id": [pay.entities["customer"] for _, pay in pays],
        "terminal_id": [pay.entities["terminal"] for _, pay in pays],
        "tenant": [pay.scope.tenant for _, pay in pays],
        "run_id": [pay.scope.run_id for _, pay in pays],
        "watermark": [pay.watermark for _, pay in pays],
    }
    labels: dict[str, list[Any]] = {
        "row_key": [tell.subject for _, tell in tells],
        "is_fraud": [tell.fraud for _, tell in tells],
        "effective_time": [tell.effective for _, tell in tells],
        "observed_time": [tell.observed for _, tell in tells],
        "tenant": [tell.scope.tenant for _, tell in tells],
        "run_id": [tell.scope.run_id for _, tell in tells],
    }
    if keys:
        labels["customer_id"] = [tell.entities["customer"] for _, tell in tells]
        labels["terminal_id"] = [tell.entities["terminal"] for _, tell in tells]
    if positions:
        payments["position"] = [row for row, _ in pays]
        labels["position"] = [row for row, _ in tells]
    return typed_table(payments), typed_table(labels)


def typed_table(columns: dict[str, list[Any]]) -> pa.Table:
    return pa.table({name: pa.array(column, TYPES.get(name, pa.int64())) for name, column in columns.items()})


TYPES = {
    **dict.fromkeys(("row_key", "customer_id", "terminal_id", "tenant", "run_id"), pa.string()),
    "is_fraud": pa.bool_(),
}


def check_by_hand(events: Sequence[Event], executed: Executed) -> None:
    names = [feature.name for feature in SET.features]
    rows = [row for row, event in enumerate(events) if isinstance(event, Pay)]
    for number, row in enumerate(rows):
        found = dict(zip(names, executed.values[:, number].tolist(), strict=True))
        missing = dict(zip(names, executed.missing[:, number].tolist(), strict=True))
        for name, value in values_of(SET, events, row).items():
            assert (None if missing[name] else found[name]) == value, name


@settings(max_examples=200, deadline=None)
@given(histories("late", watermarks=True), CUTS, st.integers(1, 50))
def test_offline_is_online_is_by_hand(events: list[Event], cuts: list[int], chunk_rows: int) -> None:
    executed = execute(SET, *tables(events), chunk_rows=chunk_rows)
    online = play(FeatureState("online", SET), events, cuts)
    assert executed.values.T.tolist() == [snapshot.values for snapshot in online]
    assert executed.freshness.T.tolist() == [snapshot.freshness for snapshot in online]
    missing = [tuple(np.flatnonzero(row).tolist()) for row in executed.missing.T]
    assert missing == [snapshot.missing for snapshot in online]
    check_by_hand(events, executed)


def by_time(event: Event) -> tuple[int, bool]:
    return (event.ts, True) if isinstance(event, Pay) else (event.observed, False)


@settings(max_examples=100, deadline=None)
@given(histories("mixed"), st.integers(1, 50))
def test_without_positions_time_is_the_order_and_labels_come_first(
    events: list[Event], chunk_rows: int
) -> None:
    payments, labels = tables(events, positions=False, keys=False)
    executed = execute(SET, payments, labels, chunk_rows=chunk_rows)
    in_order = sorted(events, key=by_time)
    places = {
        id(event): place for place, event in enumerate(event for event in in_order if isinstance(event, Pay))
    }
    order = [places[id(event)] for event in events if isinstance(event, Pay)]
    back = np.argsort(np.array(order, np.int64))
    values, missing, freshness = executed
    check_by_hand(in_order, Executed(values[:, back], missing[:, back], freshness[:, back]))


PAYMENTS = [Pay(SCOPES[0], START + at * SECOND, 100, {"customer": "c1", "terminal": "t1"}) for at in range(3)]


def test_a_table_of_features_has_nulls_where_values_are_missing() -> None:
    table = feature_table(SET, execute(SET, tables(PAYMENTS)[0]))
    assert table.column_names == [feature.name for feature in SET.features]
    assert table.column("customer_count_10s").to_pylist() == [1, 2, 3]
    assert table.column("terminal_risk_5s").to_pylist() == [None] * 3
    assert table.column("component_size").to_pylist() == [None] * 3


def test_graph_columns_are_graph_features() -> None:
    payments = tables(PAYMENTS)[0].append_column("component_size", pa.array([4, None, 6]))
    table = feature_table(SET, execute(SET, payments))
    assert table.column("component_size").to_pylist() == [4, None, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("customer_id"), "no column 'customer_id'"),
        (lambda table: table.drop_columns("position"), "or neither"),
        (lambda table: table.set_column(1, "ts_utc", pa.array([1, None, 3])), "a value in every row"),
        (lambda table: table.set_column(1, "ts_utc", pa.array(["a", "b", "c"])), "whole numbers or times"),
    ],
)
def test_a_table_that_does_not_fit_says_why(change: Callable[[pa.Table], pa.Table], message: str) -> None:
    payments, labels = tables(PAYMENTS)
    with pytest.raises(FeatureError, match=message):
        execute(SET, change(payments), labels)
