"""What a step is given: payments, labels and graph contexts of a batch, by columns.

Columns of one batch run along each other. They are kept, not copied: nobody may change them afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sluice_features.errors import FeatureError

Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Rows = slice | list[int]
ALL_ROWS = slice(None)
NEVER = -1
"""Stands for a time that does not exist: no watermark, no label, no graph context yet."""


class Scope(NamedTuple):
    """State is kept by tenant and run first: two worlds never share a customer."""

    tenant: str
    run_id: str


def scopes_of(tenants: Sequence[str | None], runs: Sequence[str | None]) -> list[Scope]:
    """The scope of each row; equal ones are one object."""
    known = {pair: Scope(str(pair[0]), str(pair[1])) for pair in set(zip(tenants, runs, strict=True))}
    if len(known) == 1:
        return list(known.values()) * len(runs)
    return [known[pair] for pair in zip(tenants, runs, strict=True)]


@dataclass(frozen=True, slots=True)
class Payments:
    """Payments in the order in which they are handed over; ties in `ts_utc` count in this order.

    `ts_utc` and `watermark` are microseconds UTC. `entities` holds one key a row for every entity of the
    feature set, None where the event has none. `watermark` is how far the row's scope was complete when
    the row was handed over, NEVER where that is not known. `position` places the rows among the labels of
    the same batch (ascending, in both or in neither); without it every label comes first.
    """

    scopes: Sequence[Scope]
    ts_utc: Int64
    amount: Int64
    entities: Mapping[str, Sequence[str | None]]
    watermark: Int64 | None = None
    position: Int64 | None = None

    def __len__(self) -> int:
        return len(self.scopes)


@dataclass(frozen=True, slots=True)
class Labels:
    """What became known of payments: `subjects` are their ids, `entities` are the payments' own.

    `effective_time` is when a payment happened, `observed_time` when this was learnt (microseconds UTC).
    `position` as for payments.
    """

    scopes: Sequence[Scope]
    subjects: Sequence[str]
    entities: Mapping[str, Sequence[str | None]]
    effective_time: Int64
    observed_time: Int64
    fraud: Sequence[bool]
    position: Int64 | None = None

    def __len__(self) -> int:
        return len(self.scopes)


@dataclass(frozen=True, slots=True)
class GraphContexts:
    """Fields of the graph's context for each payment of a batch; `present` says where a field has a value.

    `as_of` is the event time (microseconds) up to which the graph was complete, NEVER where a payment has
    no context.
    """

    values: Mapping[str, Int64] = field(default_factory=dict)
    present: Mapping[str, Mask] = field(default_factory=dict)
    as_of: Int64 | None = None


def rows_by_scope(scopes: Sequence[Scope]) -> Iterator[tuple[Scope, Rows]]:
    """Each scope with its rows, in the order in which the scopes first stand there."""
    if scopes and scopes.count(scopes[0]) == len(scopes):
        yield scopes[0], ALL_ROWS
        return
    rows: dict[Scope, list[int]] = {}
    for row, scope in enumerate(scopes):
        rows.setdefault(scope, []).append(row)
    yield from rows.items()


def keys_of(given: Payments | Labels, entity: str, rows: Rows = ALL_ROWS) -> Sequence[str | None]:
    """The keys of an entity; raises FeatureError when there is no such column."""
    keys = given.entities.get(entity)
    if keys is None or len(keys) != len(given):
        raise FeatureError(f"a column of keys (or None) is needed in every batch for the entity {entity!r}")
    return keys if isinstance(rows, slice) else [keys[row] for row in rows]
