"""Tables of payments and labels, read by the names that a feature set's paths end in."""

import pyarrow as pa
import pyarrow.compute as pc

from sluice_features.columns import NEVER, GraphContexts, Int64, Labels, Payments, Scope, scopes_of
from sluice_features.definition import FeatureSet
from sluice_features.errors import FeatureError

DEFAULT_SCOPE = Scope("default", "table")


def column_name(path: str) -> str:
    """The column that stands for a dotted path: its last part."""
    return path.rpartition(".")[2]


class PaymentTable:
    """Payments by columns: `ts_utc`, the amount, one key for every entity.

    Optional: `tenant` and `run_id`, `watermark`, `position`, the graph features' fields and `graph_as_of`.
    """

    def __init__(self, feature_set: FeatureSet, table: pa.Table) -> None:
        self._feature_set = feature_set
        self._table = table
        self.times = numbers(table, "ts_utc")
        self.position = optional_numbers(table, "position")
        self._amount = numbers(table, column_name(feature_set.amount))
        self._watermark = optional_numbers(table, "watermark")

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def rows(self, chosen: Int64, position: Int64) -> tuple[Payments, GraphContexts | None]:
        """Some rows, in the order given, handed over at `position`."""
        table = self._table.take(pa.array(chosen))
        keys = {
            entity: texts(table, column_name(path)) for entity, path in self._feature_set.entities.items()
        }
        watermark = None if self._watermark is None else self._watermark[chosen]
        payments = Payments(
            scopes(table), self.times[chosen], self._amount[chosen], keys, watermark, position
        )
        return payments, self._graph(table)

    def with_keys(self, labels: pa.Table, subject: str) -> pa.Table:
        """Labels with the keys of the payments that have their subjects, where they have none themselves."""
        names = [column_name(path) for path in self._feature_set.entities.values()]
        wanted = [name for name in names if name not in labels.column_names]
        if wanted:
            subjects = _column(self._table, subject).cast(pa.string()).combine_chunks()
            places = pc.index_in(_column(labels, subject).cast(pa.string()), value_set=subjects)
            for name in wanted:
                labels = labels.append_column(name, _column(self._table, name).take(places))
        return labels

    def _graph(self, table: pa.Table) -> GraphContexts | None:
        fields = [one.field for one in self._feature_set.graph if one.field in table.column_names]
        if not fields:
            return None
        present = {name: table.column(name).is_valid().to_numpy() for name in fields}
        values = {name: numbers(table, name, with_nulls=True) for name in fields}
        return GraphContexts(values, present, optional_numbers(table, "graph_as_of"))


class LabelTable:
    """Labels by columns: a subject, `is_fraud`, `effective_time`, `observed_time`.

    Keys of entities stand in columns of their own, or are those of the payment with the same subject.
    Optional: `tenant` and `run_id`, `position`.
    """

    def __init__(
        self, feature_set: FeatureSet, table: pa.Table, payments: PaymentTable, subject: str
    ) -> None:
        self._feature_set = feature_set
        self._table = payments.with_keys(table, subject)
        self._subject = subject
        self.times = numbers(table, "observed_time")
        self.position = optional_numbers(table, "position")
        self._effective_time = numbers(table, "effective_time")
        self._fraud = _column(table, "is_fraud").to_numpy()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def rows(self, chosen: Int64, position: Int64) -> Labels:
        """Some rows, in the order given, handed over at `position`."""
        table = self._table.take(pa.array(chosen))
        subjects = [str(subject) for subject in texts(table, self._subject)]
        paths = self._feature_set.entities
        keys = {entity: texts(table, column_name(path)) for entity, path in paths.items()}
        return Labels(
            scopes(table),
            subjects,
            keys,
            self._effective_time[chosen],
            self.times[chosen],
            self._fraud[chosen].tolist(),
            position,
        )


def numbers(table: pa.Table, name: str, *, with_nulls: bool = False) -> Int64:
    """A column of whole numbers or times (as microseconds), NEVER for a null; raises FeatureError."""
    column = _column(table, name)
    if column.null_count and not with_nulls:
        raise FeatureError(f"column {name!r} must have a value in every row, {column.null_count} have none")
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz))
    try:
        column = column.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise FeatureError(f"column {name!r} must hold whole numbers or times: {error}") from error
    values: Int64 = pc.fill_null(column, NEVER).to_numpy()
    return values


def optional_numbers(table: pa.Table, name: str) -> Int64 | None:
    """The same, None when there is no such column."""
    return numbers(table, name, with_nulls=True) if name in table.column_names else None


def texts(table: pa.Table, name: str) -> list[str | None]:
    """A column as texts; raises FeatureError when there is none."""
    found: list[str | None] = _column(table, name).cast(pa.string()).to_pylist()
    return found


def scopes(table: pa.Table) -> list[Scope]:
    """Tenant and run of each row; one scope for all where a table does not name them."""
    if "run_id" not in table.column_names:
        return [DEFAULT_SCOPE] * table.num_rows
    runs = texts(table, "run_id")
    tenants = texts(table, "tenant") if "tenant" in table.column_names else [DEFAULT_SCOPE.tenant] * len(runs)
    return scopes_of(tenants, runs)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise FeatureError(f"the table has no column {name!r}, only {', '.join(table.column_names)}")
    return table.column(name)
