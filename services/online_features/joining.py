"""Payments wait for what the graph knows of them, and contexts that came early wait for their payments.

A payment's own values are measured when it arrives, so waiting changes nothing but the graph's part. The
payments of a run leave in the order in which they came; no run waits for another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from services.online_features.reading import Arrived
from sluice_features import GraphContexts, Scope, SnapshotBatch
from sluice_features.columns import NEVER, Int64

_NOTHING: Final = -(2**63)
"""Stands for a null among a context's numbers."""


class Context(NamedTuple):
    """What the graph knew of a payment; `values` along the feature set's graph features."""

    version: int
    basis: str
    values: tuple[int | None, ...]


Key = tuple[Scope, str]
"""Run and event id."""


class Early(NamedTuple):
    """A context without its payment yet; `arrived` in `now`."""

    context: Context
    arrived: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Payments of one run and step, measured without the graph; `arrived` in `now`."""

    scope: Scope
    arrived: int
    input_basis: str
    event_ids: Sequence[str]
    partitions: Sequence[int]
    offsets: Sequence[int]
    measured: SnapshotBatch

    def __len__(self) -> int:
        return len(self.event_ids)

    def rows(self, start: int, end: int) -> "Asked":
        """Some of them."""
        if start == 0 and end == len(self):
            return self
        cut = slice(start, end)
        return replace(
            self,
            event_ids=self.event_ids[cut],
            partitions=self.partitions[cut],
            offsets=self.offsets[cut],
            measured=self.measured.rows(cut),
        )


class Answered(NamedTuple):
    """Payments that wait no longer, with their contexts; None where one ran out of time."""

    asked: Asked
    contexts: Sequence[Context | None]


def contexts_of(arrived: Arrived, fields: Sequence[str]) -> Iterator[tuple[Key, Context]]:
    """The contexts that a step brought."""
    events = arrived.events
    columns = [events.numbers(name) for name in fields]
    values = zip(*columns, strict=True) if columns else iter([()] * len(arrived))
    known = zip(events.numbers("graph_version"), events.texts("graph_basis"), values, strict=True)
    return zip(zip(arrived.scopes, arrived.event_ids, strict=True), map(Context._make, known), strict=True)


def graph_columns(contexts: Sequence[Context | None], fields: Sequence[str]) -> GraphContexts:
    """Contexts as the feature set wants them."""
    absent = Context(NEVER, "", (None,) * len(fields))
    found = [absent if context is None else context for context in contexts]
    values: dict[str, Int64] = {}
    present = {}
    for name, column in zip(fields, zip(*(context.values for context in found), strict=True), strict=True):
        known = np.array([_NOTHING if value is None else value for value in column], np.int64)
        present[name] = known != _NOTHING
        values[name] = known
    return GraphContexts(values, present, np.array([context.version for context in found], np.int64))


def answered(
    queue: Sequence[Asked], find: Callable[[Sequence[str]], list[Context | None]], expired: int, most: int
) -> tuple[list[Answered], list[Asked]]:
    """Take the payments of a run that need not wait off its queue: those in front of the first that has to.

    `find` gives what is known by event id. What arrived at or before `expired` waits no longer, and no more
    than `most` wait at all.
    """
    out: list[Answered] = []
    surplus = sum(map(len, queue)) - most
    for place, asked in enumerate(queue):
        found = find(asked.event_ids)
        end = len(asked) if asked.arrived <= expired else _first_waiting(found, surplus)
        if end:
            out.append(Answered(asked.rows(0, end), found[:end]))
        if end < len(asked):
            return out, [asked.rows(end, len(asked)), *queue[place + 1 :]]
        surplus -= len(asked)
    return out, []


def _first_waiting(found: list[Context | None], surplus: int) -> int:
    """The first payment that has no context and is none of the oldest `surplus`; their count without one."""
    try:
        return found.index(None, max(surplus, 0))
    except ValueError:
        return len(found)


def without_oldest(early: Mapping[Key, Early], expired: int, most: int) -> list[Key]:
    """Early contexts to let go: those that arrived at or before `expired`, then the oldest beyond `most`."""
    surplus = len(early) - most
    gone: list[Key] = []
    for number, (key, one) in enumerate(early.items()):
        if number >= surplus and one.arrived > expired:
            break
        gone.append(key)
    return gone
