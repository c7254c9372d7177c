"""The committed graph of one run: entities by number, edges in the order in which they came.

Entities and edges are only ever added, so what is derived from them (components, degrees, disputes) can be
made again from their order alone; that is what a checkpoint relies on.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sluice_graph.edge_table import EdgeTable
from sluice_graph.kinds import KINDS, SLOTS

Int64 = npt.NDArray[np.int64]
FAR: Final = 255
"""The distance of what no known fraud reaches."""
NO_NUMBER: Final = -1
"""The number of an entity that an event does not name, or that there is no room for."""
NEVER_SEEN: Final = np.iinfo(np.int64).max
_FIRST_ROOM: Final = 64


class LabelRecord(NamedTuple):
    """What holds of a payment that was once said to be fraud, and which entities that marks.

    `disputed`: FRAUD and LEGIT were observed at the same moment.
    """

    observed_time: int
    fraud: bool
    disputed: bool
    entities: tuple[int, ...]


class Counters:
    """By entity: events, first and last `ts_utc` (microseconds). An entity may have none yet."""

    def __init__(self) -> None:
        self._room = 0
        self.events, self.first, self.last = (np.zeros(0, np.int64) for _ in range(3))

    @property
    def bytes(self) -> int:
        """Size of the arrays."""
        return self.events.nbytes + self.first.nbytes + self.last.nbytes

    def touch(self, entities: Int64, events: Int64 | int, first: Int64, last: Int64, count: int) -> None:
        """Add events of entities, of `count` that there are."""
        if count > self._room:
            self._grow(count)
        np.add.at(self.events, entities, events)
        np.minimum.at(self.first, entities, first)
        np.maximum.at(self.last, entities, last)

    def _grow(self, count: int) -> None:
        more = max(_FIRST_ROOM, count + count // 4) - self._room
        self.events = np.concatenate((self.events, np.zeros(more, np.int64)))
        self.first = np.concatenate((self.first, np.full(more, NEVER_SEEN)))
        self.last = np.concatenate((self.last, np.full(more, -1)))
        self._room += more


class ScopeGraph:
    """Columns by entity number, and half edges chained by entity.

    `links` is a forest: the number of the entity above, or minus the size of the component at its root.
    `ring` leads through all members of a component. Half edges `2e` and `2e + 1` are the ends of edge `e`.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.names: list[str] = []
        self.kinds = bytearray()
        self.numbers: tuple[dict[str | None, int], ...] = tuple({None: NO_NUMBER} for _ in KINDS)
        self.links, self.ring, self.oldest, self.heads = (array("i") for _ in range(4))
        self.distances = bytearray()
        self.degrees = array("H")
        self.targets, self.nexts = array("i"), array("i")
        self.joining = bytearray()
        self.table = EdgeTable()
        self.counters = Counters()
        self.marks: dict[int, int] = {}
        """By entity: payments of it that are known fraud."""
        self.disputes: dict[int, int] = {}
        """By entity: identity conflicts that touch it."""
        self.component_disputes: dict[int, int] = {}
        """By root: conflicts in the component."""
        self.label_disputes: dict[int, int] = {}
        """By entity: payments whose labels contradict each other."""
        self.labels: dict[str, LabelRecord] = {}
        """By payment: what holds of those that were once said to be fraud."""
        self.label_ends: list[tuple[int, str]] = []
        """A heap of when which of them was observed; records that were replaced are still in it."""

    def __len__(self) -> int:
        return len(self.names)

    def find(self, kind: int, value: str) -> int:
        """The number of an entity, NO_NUMBER where it is not known."""
        return self.numbers[kind].get(value, NO_NUMBER)

    def add_entities(self, kinds: Sequence[int], values: Sequence[str]) -> None:
        """The next entities, each a component of its own."""
        first, count = len(self.names), len(values)
        for number, kind, value in zip(range(first, first + count), kinds, values, strict=True):
            self.numbers[kind][value] = number
        self.names += values
        self.kinds += bytes(kinds)
        own, none = array("i", range(first, first + count)), array("i", (-1,)) * count
        self.links += none
        self.ring += own
        self.oldest += own
        self.heads += none
        self.distances += bytes((FAR,)) * count
        self.degrees += array("H", (0,)) * (SLOTS * count)

    def add_edges(self, edges: Mapping[tuple[int, int], bool]) -> None:
        """Chain edges, each with whether it joins, to both their ends; the table is told of them apart."""
        half, heads = len(self.targets), self.heads
        targets: list[int] = []
        nexts: list[int] = []
        for left, right in edges:
            targets += (right, left)
            nexts += (heads[left], heads[right])
            heads[left], heads[right] = half, half + 1
            half += 2
        self.targets.fromlist(targets)
        self.nexts.fromlist(nexts)
        self.joining += bytes(edges.values())

    def root(self, entity: int) -> int:
        """The root of an entity's component."""
        links = self.links
        while (above := links[entity]) >= 0:
            entity = above
        return entity

    def neighbours(self, entity: int) -> Iterator[tuple[int, bool]]:
        """Neighbours and whether the edge joins, newest first."""
        half = self.heads[entity]
        while half >= 0:
            yield self.targets[half], bool(self.joining[half >> 1])
            half = self.nexts[half]

    def component(self, entity: int) -> Iterator[int]:
        """The members of an entity's component, beginning with it."""
        yield entity
        member = self.ring[entity]
        while member != entity:
            yield member
            member = self.ring[member]

    @property
    def edges(self) -> int:
        """How many edges are kept."""
        return len(self.joining)

    @property
    def bytes(self) -> int:
        """Size of columns, edges and keys, as far as it can be counted."""
        columns = (self.links, self.ring, self.oldest, self.heads, self.degrees, self.targets, self.nexts)
        held = sum(len(column) * column.itemsize for column in columns)
        held += len(self.kinds) + len(self.distances) + len(self.joining)
        held += self.table.bytes + self.counters.bytes + BYTES_PER_NAME * len(self.names)
        sparse = (
            len(self.marks) + len(self.disputes) + len(self.component_disputes) + len(self.label_disputes)
        )
        return held + BYTES_PER_SPARSE * sparse + BYTES_PER_LABEL * len(self.labels)


BYTES_PER_NAME: Final = 190
"""An entity's text, its number, and its place in a dictionary and a list."""
BYTES_PER_SPARSE: Final = 110
BYTES_PER_LABEL: Final = 320
