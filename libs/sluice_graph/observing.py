"""A batch of one run: payments and labels in their order, one context for every payment."""

from collections.abc import Sequence
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np

from sluice_graph.drafting import GraphDraft
from sluice_graph.edge_table import edge_keys
from sluice_graph.kinds import (
    CUSTOMER,
    CUSTOMER_SLOT,
    DEVICE,
    EDGE_KINDS,
    IDENTITY,
)
from sluice_graph.label_desk import Label, LabelDesk
from sluice_graph.policy import GraphPolicy
from sluice_graph.scope_graph import FAR, NO_NUMBER, Int64, ScopeGraph

_UNKNOWN: Final = -2
_DEVICE_EDGE: Final = 2
_LEFT_KINDS: Final = [kind.left for kind in EDGE_KINDS]
_RIGHT_KINDS: Final = [kind.right for kind in EDGE_KINDS]
_BIT_OF_EDGE: Final = 1 << np.arange(len(EDGE_KINDS))
_BITS: Final = [
    [which for which in range(len(EDGE_KINDS)) if bits >> which & 1] for bits in range(1 << len(EDGE_KINDS))
]
_END: Final = np.iinfo(np.int64).max
_NO_LABEL: Final = (_END, Label("", False, 0, ()))


class Payments(NamedTuple):
    """Payments of one run in their order. `keys[kind][row]` is a value or None; times in microseconds."""

    ts_utc: Sequence[int]
    keys: Sequence[Sequence[str | None]]


class EventContext(NamedTuple):
    """What the graph knew of a payment, its own edges included.

    `whole` is False where there was no room for an entity of it.
    """

    component_size: int | None
    shared_device_degree: int | None
    fraud_distance: int | None
    conflicts: int
    whole: bool

    @property
    def clean(self) -> bool:
        """Whether its identities were resolved without conflict."""
        return self.whole and not self.conflicts


class Touches(NamedTuple):
    """Entities that payments named, and when."""

    entities: Int64
    ts_utc: Int64


class ScopeDraft:
    """Everything that a batch changes of one run's graph."""

    def __init__(self, graph: ScopeGraph, policy: GraphPolicy, newest_label: int) -> None:
        self.graph = GraphDraft(graph, policy)
        self.desk = LabelDesk(self.graph, policy, newest_label)
        self.touches: list[Touches] = []

    def observe(self, payments: Payments, labels: Sequence[tuple[int, Label]] = ()) -> list[EventContext]:
        """Take payments and labels in; a label comes before the payment whose row stands with it.

        Labels must be given in ascending order of rows; one with the number of payments comes last.
        """
        numbers, fresh_edges = self._look_up(payments)
        contexts: list[EventContext] = []
        waiting = iter(labels)
        at, label = next(waiting, _NO_LABEL)
        for row, entities in enumerate(zip(*numbers, strict=True)):
            while at <= row:
                self.desk.take(label)
                at, label = next(waiting, _NO_LABEL)
            if not fresh_edges[row]:
                contexts.append(self._context(entities, 1, 0, whole=True))
            else:
                contexts.append(self._settle(payments, row, numbers, fresh_edges[row]))
        while at != _END:
            self.desk.take(label)
            at, label = next(waiting, _NO_LABEL)
        self._touch(payments, numbers)
        return contexts

    def _look_up(self, payments: Payments) -> tuple[list[list[int]], list[int]]:
        """Numbers by kind, and by row the bits of the kinds of edges that are not committed."""
        graph = self.graph.graph
        numbers = [
            list(map(table.get, column, repeat(_UNKNOWN)))
            for table, column in zip(graph.numbers, payments.keys, strict=True)
        ]
        columns = np.array(numbers, np.int64)
        left, right = columns[_LEFT_KINDS], columns[_RIGHT_KINDS]
        there = graph.table.contains(edge_keys(left, right).ravel()).reshape(left.shape)
        fresh = (left != NO_NUMBER) & (right != NO_NUMBER) & ~there
        return numbers, (_BIT_OF_EDGE @ fresh).tolist()

    def _settle(
        self, payments: Payments, row: int, numbers: Sequence[list[int]], fresh_edges: int
    ) -> EventContext:
        """A row that brings something new: its entities and edges, then its context."""
        draft = self.graph
        turned_away = draft.turned_away
        entities = []
        for kind, column in enumerate(numbers):
            if column[row] == _UNKNOWN:
                column[row] = draft.number(kind, payments.keys[kind][row])
            entities.append(column[row])
        on_device, unlisted = 1, 0
        for which in _BITS[fresh_edges]:
            kind_of_edge = EDGE_KINDS[which]
            left, right = entities[kind_of_edge.left], entities[kind_of_edge.right]
            if left < 0 or right < 0:
                kept = False
            else:
                kept = draft.link(which, left, right)
                unlisted += not kept and draft.contested(which, right)
            if which == _DEVICE_EDGE:
                on_device = int(kept)
        return self._context(entities, on_device, unlisted, whole=draft.turned_away == turned_away)

    def _context(
        self, entities: Sequence[int], on_device: int, unlisted: int, *, whole: bool
    ) -> EventContext:
        draft = self.graph
        customer, device = entities[CUSTOMER], entities[DEVICE]
        size: int | None = None
        conflicts = unlisted
        if customer >= 0:
            size = draft.size(draft.root(customer))
            if draft.disputed:
                conflicts += draft.dispute(customer)
        shared = None if device < 0 else draft.degree(device, CUSTOMER_SLOT) - on_device
        nearest = FAR
        if draft.marked:
            nearest = draft.nearest([entities[kind] for kind in IDENTITY])
        return EventContext(size, shared, None if nearest == FAR else nearest, conflicts, whole)

    def _touch(self, payments: Payments, numbers: Sequence[Sequence[int]]) -> None:
        columns = np.array(numbers, np.int64)
        times = np.broadcast_to(np.array(payments.ts_utc, np.int64), columns.shape)
        named = columns >= 0
        self.touches.append(Touches(columns[named], times[named]))
