"""Which links belong together, when a payment's record is due, and what stands in it.

Pure: times come in with the links (when each was written to the bus) and with `settle` (up to when every
input was read). What a record says does not depend on the order in which its links came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from services.decision_log.links import TOPIC_OF, Kind, Link

Key = tuple[str, str, str]
"""(tenant, run_id, event_id of the payment)."""
_FORM: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_UNSETTLED: Final = "UNCERTAIN"
_COMPLETE, _INCOMPLETE = "COMPLETE", "INCOMPLETE"


class Place(NamedTuple):
    """Where a link stands: its partition as the reader numbers them, partition of its topic, offset."""

    source: int
    partition: int
    offset: int


class Stood(NamedTuple):
    """A reference to a record of the bus, small while many wait. `about` and `says` as in `Link`."""

    place: Place
    id: str
    digest: bytes
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


@dataclass(frozen=True, slots=True)
class Due:
    """A record to be appended. `snapshot`: (partition, offset) of its snapshot, None where it has none."""

    key: Key
    record: dict[str, Any]
    snapshot: tuple[int, int] | None
    awaits_snapshot: str

    @property
    def complete(self) -> bool:
        """Whether no link is missing."""
        return bool(self.record["chain"]["status"] == _COMPLETE)

    @property
    def corrects(self) -> bool:
        """Whether it takes the place of an earlier record."""
        return self.record["chain"]["corrects"] is not None


@dataclass(slots=True)
class Chain:
    """What was read of one payment and stands in no record yet.

    `written`: of its first link, ms since 1970.
    """

    written: int
    looked_up: bool = False
    former: Former | None = None
    ts_utc: int | None = None
    places: list[Place] = field(default_factory=list)
    receipt: Stood | None = None
    decision: Stood | None = None
    snapshots: dict[str, Place] = field(default_factory=dict)
    intents: dict[str, Stood] = field(default_factory=dict)
    outcomes: dict[str, Stood] = field(default_factory=dict)

    def take(self, link: Link, place: Place, written: int) -> None:
        """Add a link; one that is there already changes nothing."""
        self.places.append(place)
        self.written = min(self.written, written)
        if link.ts_utc is not None:
            self.ts_utc = link.ts_utc
        kind = link.kind
        if kind is Kind.PAYMENT:
            return
        if kind is Kind.SNAPSHOT:
            self.snapshots[link.id] = min(place, self.snapshots.get(link.id, place))
            return
        stood = Stood(place, link.id, link.digest, link.about, link.says)
        if kind is Kind.RECEIPT:
            self.receipt = _first(self.receipt, stood)
        elif kind is Kind.DECISION:
            self.decision = _first(self.decision, stood)
        elif kind is Kind.INTENT:
            self.intents[link.id] = _first(self.intents.get(link.id), stood)
        else:
            self.outcomes[link.id] = _first(self.outcomes.get(link.id), stood)


def _first(known: Stood | None, found: Stood) -> Stood:
    return found if known is None or found.place < known.place else known


class Chains:
    """Payments whose record is not written yet, in the order in which they were met."""

    def __init__(self) -> None:
        self._open: dict[Key, Chain] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, link: Link, place: Place, written: int) -> None:
        """Add a link that was written to the bus at `written` (ms since 1970 UTC).

        Raises ValueError for a key or a snapshot's hash that no record can hold: the gate checks events, but
        snapshots reach us unchecked.
        """
        if link.kind is Kind.SNAPSHOT and not _DIGEST.fullmatch(link.id):
            raise ValueError(f"snapshot_hash of {link.key} is no sha256")
        chain = self._open.get(link.key)
        if chain is None:
            if not all(map(_FORM.fullmatch, link.key)):
                raise ValueError(f"{link.key} cannot name a payment: A-Z a-z 0-9 _ . : - only")
            chain = self._open[link.key] = Chain(written)
        chain.take(link, place, written)

    def not_looked_up(self) -> list[Key]:
        """Chains of which it is not known whether the log has a record already."""
        return [key for key, chain in self._open.items() if not chain.looked_up]

    def looked_up(self, keys: Iterable[Key], found: Mapping[Key, Former]) -> None:
        """Say which of `keys` have a record; chains that bring nothing new to theirs are forgotten."""
        for key in keys:
            chain = self._open[key]
            chain.looked_up = True
            chain.former = found.get(key)
            if chain.former is not None and _groups(chain) == _groups_of(chain.former.record):
                del self._open[key]

    def settle(self, written_before: int, most_waiting: int, at_most: int) -> list[Due]:
        """Take out what is due: chains that are whole, and those that began at `written_before` or earlier.

        Should more than `most_waiting` be left, the oldest of them go, too. Only chains that were looked up.
        `at_most` records at once: whoever gets so many asks again.
        """
        due: list[Due] = []
        waiting: list[tuple[int, Key]] = []
        for key, chain in self._open.items():
            if len(due) == at_most:
                waiting.clear()  # first what is due, then what waits too long
                break
            if not chain.looked_up:
                continue
            late = chain.written <= written_before
            if late or _may_be_settled(chain):
                groups = _groups(chain)
                missing = _missing(groups)
                if late or _is_settled(chain, missing):
                    due.append(_due(key, chain, groups, missing))
                    continue
            waiting.append((chain.written, key))
        if len(waiting) > most_waiting:
            surplus = min(len(waiting) - most_waiting, at_most - len(due))
            for _, key in sorted(waiting)[:surplus]:
                groups = _groups(self._open[key])
                due.append(_due(key, self._open[key], groups, _missing(groups)))
        for one in due:
            del self._open[one.key]
        return due

    def low_marks(self) -> dict[int, int]:
        """Of each source the first offset that an open chain still needs."""
        low: dict[int, int] = {}
        for chain in self._open.values():
            for source, _, offset in chain.places:
                if offset < low.get(source, offset + 1):
                    low[source] = offset
        return low

    def oldest(self) -> int | None:
        """When the first link of the oldest open chain was written, ms since 1970 UTC."""
        return min((chain.written for chain in self._open.values()), default=None)


def _due(key: Key, chain: Chain, groups: dict[str, Any], missing: list[str]) -> Due:
    tenant, run_id, event_id = key
    former, ts_utc = chain.former, chain.ts_utc
    if ts_utc is None:
        ts_utc = 0 if former is None else former.record["identity"]["ts_utc"]
    identity = {
        "schema_version": 1,
        "event_id": event_id,
        "tenant": tenant,
        "run_id": run_id,
        "ts_utc": ts_utc,
    }
    state = {
        "status": _INCOMPLETE if missing else _COMPLETE,
        "missing": missing,
        "corrects": None if former is None else former.leaf_hash,
    }
    record = {"identity": identity, **groups, "chain": state}
    used = groups["snapshot"]
    if used is None:
        return Due(key, record, None, _wanted_snapshot(chain))
    place = chain.snapshots.get(used["hash"])
    kept = None if former is None else former.snapshot
    return Due(key, record, kept if place is None else (place.partition, place.offset), "")


def _may_be_settled(chain: Chain) -> bool:
    """Cheap, and never a false no."""
    return chain.former is not None or bool(chain.receipt and chain.decision and chain.outcomes)


def _is_settled(chain: Chain, missing: Sequence[str]) -> bool:
    """Whether waiting can bring nothing more: a decision that used no snapshot lacks one for good."""
    return not missing or (list(missing) == ["snapshot"] and not _wanted_snapshot(chain))


def _wanted_snapshot(chain: Chain) -> str:
    """Hash of the snapshot that the decision used, '' when it used none or is not known."""
    if chain.decision is not None:
        return chain.decision.says
    return "" if chain.former is None else chain.former.awaits_snapshot


def _groups(chain: Chain) -> dict[str, Any]:
    """The links that a record of this chain holds, those of the former record included."""
    former: Mapping[str, Any] = {} if chain.former is None else chain.former.record
    receipt, decision = former.get("receipt"), former.get("decision")
    return {
        "receipt": receipt or (chain.receipt and _reference(Kind.RECEIPT, chain.receipt)),
        "snapshot": former.get("snapshot") if _keeps_snapshot(chain) else _snapshot(chain),
        "decision": decision or (chain.decision and _reference(Kind.DECISION, chain.decision)),
        "intents": _merged(former.get("intents", ()), chain.intents.values(), Kind.INTENT),
        "outcomes": _merged(former.get("outcomes", ()), chain.outcomes.values(), Kind.OUTCOME),
    }


def _groups_of(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("receipt", "snapshot", "decision", "intents", "outcomes")}


def _keeps_snapshot(chain: Chain) -> bool:
    """The snapshot that a record names beside a decision is the one that was used: it stays."""
    if chain.former is None:
        return False
    record = chain.former.record
    return record["snapshot"] is not None and (record["decision"] is not None or chain.decision is None)


def _snapshot(chain: Chain) -> dict[str, str] | None:
    decided = chain.decision is not None or (
        chain.former is not None and chain.former.record["decision"] is not None
    )
    if decided:
        wanted = _wanted_snapshot(chain)
        known = chain.former.record["snapshot"] if chain.former is not None else None
        there = wanted in chain.snapshots or (known is not None and known["hash"] == wanted)
        return {"hash": wanted} if wanted and there else None
    if not chain.snapshots:
        return None
    return {"hash": min((place, name) for name, place in chain.snapshots.items())[1]}


def _missing(groups: Mapping[str, Any]) -> list[str]:
    missing = [name for name in ("receipt", "snapshot", "decision") if groups[name] is None]
    asked = {intent["id"] for intent in groups["intents"]}
    named = {outcome["intent_id"] for outcome in groups["outcomes"]}
    answered = {one["intent_id"] for one in groups["outcomes"] if one["outcome"] != _UNSETTLED}
    if not asked or not named <= asked:
        missing.append("intents")
    if not asked or not asked <= answered:
        missing.append("outcomes")
    return missing


def _merged(former: Sequence[Mapping[str, Any]], found: Iterable[Stood], kind: Kind) -> list[dict[str, Any]]:
    """References in the order of the bus, none twice."""
    known = {item["id"]: dict(item) for item in former}
    for stood in found:
        known.setdefault(stood.id, _reference(kind, stood))
    if len(known) < 2:
        return list(known.values())
    return sorted(known.values(), key=lambda item: (item["partition"], item["offset"]))


def _reference(kind: Kind, stood: Stood) -> dict[str, Any]:
    reference: dict[str, Any] = {
        "id": stood.id,
        "topic": TOPIC_OF[kind],
        "partition": stood.place.partition,
        "offset": stood.place.offset,
        "digest": stood.digest.hex(),
    }
    if kind is Kind.OUTCOME:
        reference |= {"intent_id": stood.about, "outcome": stood.says}
    return reference
