"""A batch of one run: payments and labels in their order, one context for every payment."""

from collections.abc import Sequence
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np

from sluice_graph.drafting import GraphDraft
from sluice_graph.edge_table import edge_keys
from sluice_graph.kinds import (
    ACCOUNT,
    ADDRESS,
    CARD,
    CUSTOMER,
    CUSTOMER_SLOT,
    DEVICE,
    EDGE_KINDS,
)
from sluice_graph.label_desk import Label, LabelDesk
from sluice_graph.policy import GraphPolicy
from sluice_graph.scope_graph import FAR, NO_NUMBER, Int64, ScopeGraph

_UNKNOWN: Final = -2
_DEVICE_EDGE: Final = 2
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
        numbers, settled, known = self._look_up(payments)
        contexts: list[EventContext] = []
        waiting = iter(labels)
        at, label = next(waiting, _NO_LABEL)
        for row, entities in enumerate(zip(*numbers, strict=True)):
            while at <= row:
                self.desk.take(label)
                at, label = next(waiting, _NO_LABEL)
            if settled[row]:
                contexts.append(self._context(entities, 1, 0, whole=True))
            else:
                fresh, context = self._settle(payments, row, entities, known)
                contexts.append(context)
                for column, number in zip(numbers, fresh, strict=True):
                    column[row] = number
        while at != _END:
            self.desk.take(label)
            at, label = next(waiting, _NO_LABEL)
        self._touch(payments, numbers)
        return contexts

    def _look_up(self, payments: Payments) -> tuple[list[list[int]], list[bool], list[list[bool]]]:
        """Numbers by kind, which rows bring nothing new, and by kind of edge which are committed."""
        graph = self.graph.graph
        tables = graph.numbers
        numbers = [
            list(map(table.get, column, repeat(_UNKNOWN)))
            for table, column in zip(tables, payments.keys, strict=True)
        ]
        columns = [np.array(column, np.int64) for column in numbers]
        settled = np.ones(len(payments.ts_utc), np.bool_)
        for column in columns:
            settled &= column != _UNKNOWN
        known = []
        for kind in EDGE_KINDS:
            left, right = columns[kind.left], columns[kind.right]
            there = graph.table.contains(edge_keys(left, right))
            settled &= there | (left == NO_NUMBER) | (right == NO_NUMBER)
            known.append(there.tolist())
        return numbers, settled.tolist(), known

    def _settle(
        self, payments: Payments, row: int, entities: Sequence[int], known: Sequence[Sequence[bool]]
    ) -> tuple[list[int], EventContext]:
        """A row that brings something new: its entities and edges, then its context."""
        draft, keys = self.graph, payments.keys
        turned_away = draft.turned_away
        fresh = [
            draft.number(kind, keys[kind][row]) if number == _UNKNOWN else number
            for kind, number in enumerate(entities)
        ]
        on_device, unlisted = 0, 0
        for which, kind in enumerate(EDGE_KINDS):
            left, right = fresh[kind.left], fresh[kind.right]
            if left < 0 or right < 0:
                continue
            kept = known[which][row] or draft.link(which, left, right)
            if which == _DEVICE_EDGE:
                on_device = int(kept)
            if not kept and draft.contested(which, right):
                unlisted += 1
        return fresh, self._context(fresh, on_device, unlisted, whole=draft.turned_away == turned_away)

    def _context(
        self, entities: Sequence[int], on_device: int, unlisted: int, *, whole: bool
    ) -> EventContext:
        draft = self.graph
        customer, device = entities[CUSTOMER], entities[DEVICE]
        size: int | None = None
        conflicts = unlisted
        if customer >= 0:
            size = draft.size(draft.root(customer))
            conflicts += draft.dispute(customer)
        shared = None if device < 0 else draft.degree(device, CUSTOMER_SLOT) - on_device
        distance = draft.distance
        nearest = FAR
        for kind in (CUSTOMER, CARD, ACCOUNT, DEVICE, ADDRESS):
            entity = entities[kind]
            if entity >= 0:
                nearest = min(nearest, distance(entity))
        return EventContext(size, shared, None if nearest == FAR else nearest, conflicts, whole)

    def _touch(self, payments: Payments, numbers: Sequence[Sequence[int]]) -> None:
        columns = np.array(numbers, np.int64)
        times = np.broadcast_to(np.array(payments.ts_utc, np.int64), columns.shape)
        named = columns >= 0
        self.touches.append(Touches(columns[named], times[named]))
