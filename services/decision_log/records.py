"""What stands in a payment's record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from services.decision_log.chain import Chain, Key, Stood
from services.decision_log.links import TOPIC_OF, Kind
from sluice_audit.decision_record import (
    COMPLETE,
    COMPLETE_CHAIN,
    GROUPS,
    INCOMPLETE,
    LINKS,
    SCHEMA_VERSION,
    UNCERTAIN,
)


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


def due_record(key: Key, chain: Chain, groups: dict[str, Any], missing: list[str]) -> Due:
    """The record of any chain, from its links and what is missing among them."""
    tenant, run_id, event_id = key
    former, ts_utc = chain.former, chain.ts_utc
    if ts_utc is None:
        ts_utc = 0 if former is None else former.record["identity"]["ts_utc"]
    identity = {
        "schema_version": SCHEMA_VERSION,
        "event_id": event_id,
        "tenant": tenant,
        "run_id": run_id,
        "ts_utc": ts_utc,
    }
    state = {
        "status": INCOMPLETE if missing else COMPLETE,
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


def whole_record(key: Key, chain: Chain) -> Due | None:
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
    if snapshot is None or outcome.about != intent.id or outcome.says == UNCERTAIN:
        return None
    texts = (
        COMPLETE_CHAIN,
        _reference_text(decision, _END_OF_DECISION),
        _identity_text(key, ts_utc),
        f"[{_reference_text(intent, _END_OF_INTENT)}]",
        _outcome_text(outcome),
        _reference_text(receipt, _END_OF_RECEIPT),
        f'{{"hash":"{decision.says}"}}',
    )
    return Due(key, texts, (snapshot.partition, snapshot.offset), "", complete=True, corrects=False)


def _identity_text(key: Key, ts_utc: int) -> str:
    tenant, run_id, event_id = key
    return (
        f'{{"event_id":"{event_id}","run_id":"{run_id}","schema_version":{SCHEMA_VERSION},'
        f'"tenant":"{tenant}","ts_utc":{ts_utc}}}'
    )


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


def may_be_settled(chain: Chain) -> bool:
    """Cheap, and never a false no."""
    return chain.former is not None or bool(chain.receipt and chain.decision and chain.outcomes)


def is_settled(chain: Chain, missing: Sequence[str]) -> bool:
    """Whether waiting can bring nothing more: a decision that used no snapshot lacks one for good."""
    return not missing or (list(missing) == ["snapshot"] and not _wanted_snapshot(chain))


def _wanted_snapshot(chain: Chain) -> str:
    """Hash of the snapshot that the decision used, '' when it used none or is not known."""
    if chain.decision is not None:
        return chain.decision.says
    return "" if chain.former is None else chain.former.awaits_snapshot


def groups_for(chain: Chain) -> dict[str, Any]:
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


def groups_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The links that a record holds."""
    return {name: record[name] for name in LINKS}


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


def missing_of(groups: Mapping[str, Any]) -> list[str]:
    """Names of the links that are missing among some."""
    missing = [name for name in ("receipt", "snapshot", "decision") if groups[name] is None]
    asked = {intent["id"] for intent in groups["intents"]}
    named = {outcome["intent_id"] for outcome in groups["outcomes"]}
    answered = {one["intent_id"] for one in groups["outcomes"] if one["outcome"] != UNCERTAIN}
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
