"""From a sealed world to a table that a model learns from: served features of its payments, its truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice_decisions.training import LabelledTable, Periods, TableProblem
from sluice_decisions.training.periods import DAY
from sluice_features import FeatureSet
from sluice_features.offline import execute
from sluice_oracle import Role, World, WorldError, gate_problems, iter_batches

_LABELS = ("row_key", "is_fraud", "effective_time", "observed_time")


def world_table(world: World, feature_set: FeatureSet) -> LabelledTable:
    """Features of every payment, executed as the online stage executes them; fraud as the truth has it.

    Graph features are missing: a world has no graph. Raises WorldError (no traffic or truth, a gate that is
    not PASS), FeatureError, TableProblem, and what reading raises.
    """
    payments = _output(world, Role.BUSINESS_TRAFFIC)
    labels = _output(world, Role.TRUTH).select(_LABELS)
    executed = execute(feature_set, payments, labels)
    return LabelledTable.of(
        tuple(feature.name for feature in feature_set.features),
        np.ascontiguousarray(executed.values.T),
        np.ascontiguousarray(executed.missing.T),
        frauds=_frauds(payments, labels),
        times=payments["ts_utc"].cast(pa.int64()).to_numpy(),
        customers=_numbered(payments["customer_id"]),
    )


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
