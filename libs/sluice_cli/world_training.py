"""From a sealed world to a table that a model learns from: served features of its payments, its truth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice_decisions.model import Int64
from sluice_decisions.training import LabelledTable, Periods, TableProblem
from sluice_decisions.training.periods import DAY
from sluice_decisions.training.table import Mask
from sluice_features import FeatureSet
from sluice_features.offline import execute
from sluice_oracle import Role, World, WorldError, gate_problems, iter_batches

SCORE: Final = "score_ppm"
_LABELS = ("row_key", "is_fraud", "effective_time", "observed_time")


class _About(TypedDict):
    frauds: Mask
    times: Int64
    customers: Int64


def world_table(world: World, feature_set: FeatureSet) -> LabelledTable:
    """Features of every payment, executed as the online stage executes them; fraud as the truth has it.

    Graph features are missing: a world has no graph. Raises WorldError (no traffic or truth, a gate that is
    not PASS), FeatureError, TableProblem, and what reading raises.
    """
    payments, labels = _payments_and_truth(world)
    executed = execute(feature_set, payments, labels)
    return LabelledTable.of(
        tuple(feature.name for feature in feature_set.features),
        np.ascontiguousarray(executed.values.T),
        np.ascontiguousarray(executed.missing.T),
        **_about(payments, labels),
    )


def scored_table(world: World, scores: Mapping[str, int]) -> LabelledTable:
    """The payments of a world with one feature: the score by payment id, missing where there is none.

    Raises WorldError, TableProblem, and what reading raises.
    """
    payments, labels = _payments_and_truth(world)
    found = [scores.get(payment_id) for payment_id in payments["payment_id"].cast(pa.string()).to_pylist()]
    return LabelledTable.of(
        (SCORE,),
        np.array([[score or 0] for score in found], np.int64),
        np.array([[score is None] for score in found], np.bool_),
        **_about(payments, labels),
    )


def given_periods(train_from: str | None, *days: int) -> Periods | None:
    """From a first training day and days that teach, pass and test; None without. Raises TableProblem."""
    if train_from is None:
        return None
    try:
        first = date.fromisoformat(train_from)
    except ValueError as error:
        raise TableProblem(f"--train-from {train_from!r} is no day YYYY-MM-DD") from error
    return Periods.starting(first, *days)


def last_periods(table: LabelledTable) -> Periods:
    """The handbook's three weeks (7 days teach, 7 pass, 7 test) that end with the last whole day.

    A shorter table is cut in three parts of whole days. Raises TableProblem for less than three days.
    """
    first, last = int(table.times.min()) // DAY, int(table.times.max()) // DAY
    days = min(7, (last - first + 1) // 3)
    if days < 1:
        raise TableProblem("the payments cover less than three days: nothing to teach, wait and test with")
    return Periods((last + 1 - 3 * days) * DAY, days, days, days)


def payment_outputs(world: World, role: Role) -> list[str]:
    """Ids of the outputs of a role that are about payments; labels that travel as events are left out.

    Raises WorldError when there is none, or a gate on one is not PASS.
    """
    outputs = [
        output.output_id
        for output in world.manifest.outputs
        if output.role is role and output.event_type in {None, "payment"}
    ]
    if not outputs:
        raise WorldError(f"{world.uri} has no output of role {role.value} about payments")
    problems = gate_problems(world.manifest, (), outputs)
    if problems:
        raise WorldError(f"{world.uri} may not be read: {'; '.join(problems)}")
    return outputs


def _payments_and_truth(world: World) -> tuple[pa.Table, pa.Table]:
    return _output(world, Role.BUSINESS_TRAFFIC), _output(world, Role.TRUTH).select(_LABELS)


def _about(payments: pa.Table, labels: pa.Table) -> _About:
    """What a labelled table says of each payment beside its features."""
    return {
        "frauds": _frauds(payments, labels),
        "times": payments["ts_utc"].cast(pa.int64()).to_numpy(),
        "customers": _numbered(payments["customer_id"]),
    }


def _output(world: World, role: Role) -> pa.Table:
    """Payments or truth of a world."""
    return pa.concat_tables(
        pa.Table.from_batches(list(iter_batches(world, output_id))).unify_dictionaries()
        for output_id in payment_outputs(world, role)
    )


def _frauds(payments: pa.Table, labels: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each payment is fraud; raises TableProblem where the truth says nothing about one."""
    at = pc.index_in(payments["row_key"].cast(pa.string()), value_set=labels["row_key"].cast(pa.string()))
    if at.null_count:
        raise TableProblem(f"the truth says nothing about {at.null_count} payments")
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = labels["is_fraud"].take(at).to_numpy()
    return found.astype(np.bool_)


def _numbered(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    values = column.cast(pa.string()).combine_chunks().dictionary_encode().indices
    numbers: np.ndarray[tuple[int], np.dtype[np.int64]] = values.to_numpy(zero_copy_only=False)
    return numbers.astype(np.int64)
