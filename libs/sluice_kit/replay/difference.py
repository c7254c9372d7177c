"""The first output in which a batch that was stepped again differs from what the log holds of it. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sluice_contracts import Decoded, decode
from sluice_kit.stage.model import Output, Record

MOST_FIELDS = 20


class Kind(StrEnum):
    """How an output differs."""

    CHANGED = "changed"
    """The same record with other content."""
    ADDED = "added"
    """Stepped again, but not in the log."""
    MISSING = "missing"
    """In the log, but not stepped again."""
    ORDER = "order"
    """The same records in another order under their key."""


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field; `path` is dotted, `payload.amount_minor`. A field that one side does not have is None."""

    path: str
    logged: Any
    replayed: Any


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """One output. `fields` are the first 20 that differ, empty but for CHANGED."""

    kind: Kind
    topic: str
    key: str | None
    event_id: str | None
    fields: tuple[FieldDifference, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data; bytes are hex."""
        return {
            "kind": str(self.kind),
            "topic": self.topic,
            "key": self.key,
            "event_id": self.event_id,
            "fields": [
                {"path": item.path, "logged": _plain(item.logged), "replayed": _plain(item.replayed)}
                for item in self.fields
            ],
        }


Identity = tuple[str, bytes | None, str]
"""Topic, key and event id (empty where there is none): what makes two outputs the same record."""


def identity_of(item: Output | Record) -> Identity:
    """By what an output is found again, whatever else in it differs."""
    return item.topic, item.key, event_id_of(item.value) or ""


def event_id_of(value: bytes | None) -> str | None:
    """The event that a value is, or is about; None where it says none."""
    found = decode(value)
    event_id = found.fields.get("event_id") if isinstance(found, Decoded) else None
    return event_id if isinstance(event_id, str) else None


def first_difference(replayed: Sequence[Output], logged: Sequence[Record]) -> OutputDifference | None:
    """The first output, in the order of the step, that is not as `logged` holds it; None when all are.

    `logged` are the records that the batch has written, partition by partition in offset order.
    """
    left: dict[Identity, list[Record]] = defaultdict(list)
    for record in logged:
        left[identity_of(record)].append(record)
    unmatched: list[Output] = []
    for out in replayed:
        same = left.get(identity_of(out))
        if not same:
            unmatched.append(out)
            continue
        equal = next((at for at, record in enumerate(same) if record.value == out.value), None)
        if equal is None and not unmatched:
            return _changed(same[0], out)
        same.pop(equal or 0)
    rest = [record for record in logged if record in left[identity_of(record)]]
    if unmatched:
        out = unmatched[0]
        partner = next((record for record in rest if _stands_for(record, out)), None)
        return _named(Kind.ADDED, out) if partner is None else _changed(partner, out)
    if rest:
        return _named(Kind.MISSING, rest[0])
    return _other_order(replayed, logged)


def field_differences(logged: bytes | None, replayed: bytes | None) -> Iterator[FieldDifference]:
    """Every field that differs, in the order of their paths; the whole value where one does not decode."""
    before, after = decode(logged), decode(replayed)
    if not isinstance(before, Decoded) or not isinstance(after, Decoded):
        yield FieldDifference("value", logged, replayed)
    elif before.fields == after.fields:
        yield FieldDifference("encoding", logged, replayed)
    else:
        yield from _walk("", before.fields, after.fields)


def speaks_of(values: Iterable[bytes | None], run_id: str) -> bool:
    """Whether one of these records belongs to a run."""
    mark = run_id.encode()
    for value in values:
        if value is None or mark not in value:  # cheap, and nearly always enough
            continue
        found = decode(value)
        if isinstance(found, Decoded) and found.fields.get("run_id") == run_id:
            return True
    return False


def _walk(path: str, before: Any, after: Any) -> Iterator[FieldDifference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _walk(f"{path}.{name}" if path else name, before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _walk(f"{path}.{index}", one, other)
    elif before != after:
        yield FieldDifference(path, before, after)


def _changed(record: Record, out: Output) -> OutputDifference:
    fields = tuple(field_differences(record.value, out.value))[:MOST_FIELDS]
    return OutputDifference(Kind.CHANGED, record.topic, _text(record.key), event_id_of(record.value), fields)


def _named(kind: Kind, item: Output | Record) -> OutputDifference:
    return OutputDifference(kind, item.topic, _text(item.key), event_id_of(item.value))


def _stands_for(record: Record, out: Output) -> bool:
    """Whether a logged record without a counterpart is likely what `out` should have been: ids changed."""
    before, after = decode(record.value), decode(out.value)
    if not isinstance(before, Decoded) or not isinstance(after, Decoded):
        return False
    return record.topic == out.topic and before.contract is after.contract


def _other_order(replayed: Sequence[Output], logged: Sequence[Record]) -> OutputDifference | None:
    """Records of one key keep their order; that of others is no promise of a log with partitions."""
    before: dict[tuple[str, bytes | None], list[Record]] = defaultdict(list)
    for record in logged:
        before[record.topic, record.key].append(record)
    for out in replayed:
        first = before[out.topic, out.key].pop(0)
        if first.value != out.value:
            return _named(Kind.ORDER, out)
    return None


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
