"""What was read of one payment and stands in no record yet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from services.decision_log.links import Kind, Link

Key = tuple[str, str, str]
"""(tenant, run_id, event_id of the payment)."""
NOTHING: Final[dict[str, Any]] = {}
"""What a chain has of a group before its first link; never written to."""


class Place(NamedTuple):
    """Where a link stands: its partition as the reader numbers them, partition of its topic, offset."""

    source: int
    partition: int
    offset: int


class Places(NamedTuple):
    """Where records stand, by column, and when they were written (ms since 1970 UTC)."""

    sources: list[int]
    partitions: list[int]
    offsets: list[int]
    written: list[int]

    def at(self, rows: Sequence[int]) -> Places:
        """Those at some ascending rows."""
        if len(rows) == len(self.sources):
            return self
        return Places(*([column[row] for row in rows] for column in self))


class Stood(NamedTuple):
    """A reference to a record of the bus. `digest` is hex; `about` and `says` as in `Link`."""

    source: int
    partition: int
    offset: int
    id: str
    digest: str
    about: str
    says: str


@dataclass(frozen=True, slots=True)
class Former:
    """The newest record that a payment has: what stands in it, and what the index keeps beside it.

    `snapshot`: (partition, offset) of its snapshot. `awaits_snapshot`: hash of a snapshot that its decision
    used and that was not there ('' none).
    """

    leaf_hash: str
    record: Mapping[str, Any]
    snapshot: tuple[int, int] | None = None
    awaits_snapshot: str = ""


class Chain:
    """What was read of one payment and stands in no record yet.

    `written`: of its first link, ms since 1970. `places`: (source, offset) of every link. Groups of links are
    None while there is none, else by id.
    """

    __slots__ = (
        "decision",
        "former",
        "intents",
        "looked_up",
        "outcomes",
        "places",
        "receipt",
        "snapshots",
        "ts_utc",
        "written",
    )

    def __init__(self, written: int) -> None:
        self.written = written
        self.looked_up = False
        self.former: Former | None = None
        self.ts_utc: int | None = None
        self.places: list[tuple[int, int]] = []
        self.receipt: Stood | None = None
        self.decision: Stood | None = None
        self.snapshots: dict[str, Place] = NOTHING
        self.intents: dict[str, Stood] = NOTHING
        self.outcomes: dict[str, Stood] = NOTHING

    def take(self, link: Link, place: Place, written: int) -> None:
        """Add a link; one that is there already changes nothing."""
        self.places.append((place.source, place.offset))
        self.written = min(self.written, written)
        if link.ts_utc is not None:
            self.ts_utc = link.ts_utc
        if link.kind is Kind.SNAPSHOT:
            self.take_snapshot(link.id, place)
        elif link.kind is not Kind.PAYMENT:
            self.take_stood(link.kind, Stood(*place, link.id, link.digest.hex(), link.about, link.says))

    def take_snapshot(self, name: str, place: Place) -> None:
        """Add a snapshot by its hash."""
        if self.snapshots:
            self.snapshots[name] = min(place, self.snapshots.get(name, place))
        else:
            self.snapshots = {name: place}

    def take_stood(self, kind: Kind, stood: Stood) -> None:
        """Add a reference."""
        take_references(kind, [self], [stood])


def take_references(kind: Kind, chains: Iterable[Chain], references: Iterable[Stood]) -> None:
    """Add to each chain its reference, all of one kind."""
    pairs = zip(chains, references, strict=True)
    if kind is Kind.RECEIPT:
        for chain, stood in pairs:
            chain.receipt = stood if chain.receipt is None else _first(chain.receipt, stood)
    elif kind is Kind.DECISION:
        for chain, stood in pairs:
            chain.decision = stood if chain.decision is None else _first(chain.decision, stood)
    elif kind is Kind.INTENT:
        for chain, stood in pairs:
            chain.intents = _added(chain.intents, stood) if chain.intents else {stood.id: stood}
    else:
        for chain, stood in pairs:
            chain.outcomes = _added(chain.outcomes, stood) if chain.outcomes else {stood.id: stood}


def _added(known: dict[str, Stood], stood: Stood) -> dict[str, Stood]:
    known[stood.id] = _first(known.get(stood.id), stood)
    return known


def _first(known: Stood | None, found: Stood) -> Stood:
    return found if known is None or found < known else known
