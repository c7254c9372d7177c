"""Which links belong together, when a payment's record is due, and what stands in it.

Pure: times come in with the links (when each was written to the bus) and with `settle` (up to when every
input was read). What a record says does not depend on the order in which its links came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, NamedTuple

import orjson

from services.decision_log.link_columns import LinkColumns
from services.decision_log.links import TOPIC_OF, Kind, Link
from sluice_audit.decision_record import GROUPS

Key = tuple[str, str, str]
"""(tenant, run_id, event_id of the payment)."""
_FORM: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_UNSETTLED: Final = "UNCERTAIN"
_COMPLETE, _INCOMPLETE = "COMPLETE", "INCOMPLETE"
_NOTHING_MISSING: Final = '{"corrects":null,"missing":[],"status":"COMPLETE"}'
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


class Due(NamedTuple):
    """A record to be appended. `snapshot`: (partition, offset) of its snapshot, None where it has none.

    `texts`: the canonical JSON of its field groups, in the order of `GROUPS`. `corrects`: whether it takes
    the place of an earlier record.
    """

    key: Key
    texts: tuple[str, ...]
    snapshot: tuple[int, int] | None
    awaits_snapshot: str
    complete: bool
    corrects: bool

    @property
    def record(self) -> dict[str, Any]:
        """The record."""
        return {name: orjson.loads(text) for name, text in zip(GROUPS, self.texts, strict=True)}


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
        if kind is Kind.RECEIPT:
            self.receipt = _first(self.receipt, stood)
        elif kind is Kind.DECISION:
            self.decision = _first(self.decision, stood)
        elif kind is Kind.INTENT:
            self.intents = _added(self.intents, stood)
        else:
            self.outcomes = _added(self.outcomes, stood)


def _added(known: dict[str, Stood], stood: Stood) -> dict[str, Stood]:
    if not known:
        return {stood.id: stood}
    known[stood.id] = _first(known.get(stood.id), stood)
    return known


def _first(known: Stood | None, found: Stood) -> Stood:
    return found if known is None or found < known else known


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

    def take_together(self, links: LinkColumns, records: Places) -> None:
        """Add links of one kind that were read together, of these records."""
        found, chains = [], self._open
        sources, partitions, offsets, written = ([column[row] for row in links.rows] for column in records)
        for key, source, offset, at in zip(links.keys, sources, offsets, written, strict=True):
            chain = chains.get(key)
            if chain is None:
                chain = chains[key] = Chain(at)
            elif at < chain.written:
                chain.written = at
            chain.places.append((source, offset))
            found.append(chain)
        for chain, ts_utc in zip(found, links.times, strict=False):
            chain.ts_utc = ts_utc
        if links.kind is Kind.SNAPSHOT:
            places = map(Place, sources, partitions, offsets)
            for chain, name, place in zip(found, links.ids, places, strict=True):
                chain.take_snapshot(name, place)
        elif links.kind is not Kind.PAYMENT:
            about, says = links.about or repeat(""), links.says or repeat("")
            stood = zip(sources, partitions, offsets, links.ids, links.digests, about, says, strict=False)
            for chain, reference in zip(found, map(Stood._make, stood), strict=True):
                chain.take_stood(links.kind, reference)

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
            if (whole := _whole(key, chain)) is not None:
                due.append(whole)
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
            for source, offset in chain.places:
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
    texts = tuple(orjson.dumps(record[name], option=orjson.OPT_SORT_KEYS).decode() for name in GROUPS)
    used = groups["snapshot"]
    if used is None:
        return Due(key, texts, None, _wanted_snapshot(chain), not missing, former is not None)
    place = chain.snapshots.get(used["hash"])
    kept = None if former is None else former.snapshot
    stands = kept if place is None else (place.partition, place.offset)
    return Due(key, texts, stands, "", not missing, former is not None)


def _whole(key: Key, chain: Chain) -> Due | None:
    """The record of a chain as nearly all are: one of each link, nothing missing. None for any other."""
    receipt, decision, ts_utc = chain.receipt, chain.decision, chain.ts_utc
    if (
        receipt is None
        or decision is None
        or ts_utc is None
        or chain.former is not None
        or len(chain.outcomes) != 1
        or len(chain.intents) != 1
    ):
        return None
    snapshot = chain.snapshots.get(decision.says)
    (intent,), (outcome,) = chain.intents.values(), chain.outcomes.values()
    if snapshot is None or outcome.about != intent.id or outcome.says == _UNSETTLED:
        return None
    texts = (
        _NOTHING_MISSING,
        _reference_text(decision, _END_OF_DECISION),
        f'{{"event_id":"{key[2]}","run_id":"{key[1]}","schema_version":1,"tenant":"{key[0]}","ts_utc":{ts_utc}}}',
        f"[{_reference_text(intent, _END_OF_INTENT)}]",
        _outcome_text(outcome),
        _reference_text(receipt, _END_OF_RECEIPT),
        f'{{"hash":"{decision.says}"}}',
    )
    return Due(key, texts, (snapshot.partition, snapshot.offset), "", complete=True, corrects=False)


def _outcome_text(outcome: Stood) -> str:
    return (
        f'[{{"digest":"{outcome.digest}","id":"{outcome.id}","intent_id":"{outcome.about}",'
        f'"offset":{outcome.offset},"outcome":"{outcome.says}","partition":{outcome.partition}{_END_OF_OUTCOME}]'
    )


def _reference_text(stood: Stood, end: str) -> str:
    _, partition, offset, name, digest, _, _ = stood
    return f'{{"digest":"{digest}","id":"{name}","offset":{offset},"partition":{partition}{end}'


_END_OF_RECEIPT, _END_OF_DECISION, _END_OF_INTENT, _END_OF_OUTCOME = (
    f',"topic":"{TOPIC_OF[kind]}"}}' for kind in (Kind.RECEIPT, Kind.DECISION, Kind.INTENT, Kind.OUTCOME)
)


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
        "partition": stood.partition,
        "offset": stood.offset,
        "digest": stood.digest,
    }
    if kind is Kind.OUTCOME:
        reference |= {"intent_id": stood.about, "outcome": stood.says}
    return reference
