"""Links of many records of one kind at once: the same as `link_reader` reads, by columns.

What cannot be read so (few records, other layouts, texts that are not plain) is left to `link_reader`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import compress, repeat
from typing import Any, Final, NamedTuple

from services.decision_log.decision_bytes import OtherLayoutError, snapshot_of_decision
from services.decision_log.links import CONTRACTS, HASH_BYTES, HASH_LENGTH, Kind
from sluice_kit.columnar import FlatColumns, read_beginnings

Keys = Sequence[tuple[str, str, str]]
Texts = Sequence[str]
_HEX: Final = b"0123456789abcdef"
_PLAIN: Final = (string.ascii_letters + string.digits + "_.:-").encode()
"""What names in records are made of."""
_ADMIT, _PAYMENT = "ADMIT", "payment"
_OF_ANOTHER_TYPE: Final = re.compile(rb"\x02(?:\x10decision|\x1aaction_intent|\x1caction_outcome)\x02")
"""`subject_event_type` of most receipts; no text before it may hold control characters."""
_ENVELOPE_BYTES: Final = 256
"""A receipt's envelope has more. It is not searched: what is overlooked so is read like any other."""
_HASH_FROM, _HASH_TEXT_FROM = -HASH_BYTES, len(HASH_LENGTH) - HASH_BYTES
_SUBJECT: Final = "payload.subject_event_id"


class _Wanted(NamedTuple):
    """Fields of a kind: the payment, the last one that is read, a time where it tells one."""

    subject: str
    through: str
    time: str | None = None


_WANTED: Final[Mapping[Kind, _Wanted]] = {
    Kind.PAYMENT: _Wanted("event_id", "run_id", "ts_utc"),
    Kind.RECEIPT: _Wanted(_SUBJECT, "payload.subject_event_type"),
    Kind.SNAPSHOT: _Wanted("event_id", "as_of", "as_of"),
    Kind.DECISION: _Wanted(_SUBJECT, _SUBJECT, "ts_utc"),
    Kind.INTENT: _Wanted(_SUBJECT, _SUBJECT),
    Kind.OUTCOME: _Wanted(_SUBJECT, "payload.outcome"),
}


class LinkColumns(NamedTuple):
    """Links of one kind; the lists run along one another. What they mean: see `Link`.

    `rows`: their places among the values. `digests` are hex. A list of what a kind does not tell is empty.
    """

    kind: Kind
    rows: Sequence[int]
    keys: Keys
    ids: Texts
    digests: Texts = ()
    times: Sequence[int] = ()
    about: Texts = ()
    says: Texts = ()


def read_together(kind: Kind, values: Sequence[bytes | None]) -> tuple[LinkColumns | None, Sequence[int]]:
    """Links of values of one topic, None where none was read, and the places of what is to be read by itself.

    Receipts that concern no payment are in neither.
    """
    if kind is not Kind.RECEIPT:
        return _read_all(kind, values)
    places = _maybe_about_payments(values)
    links, rest = _read_all(kind, [values[place] for place in places])
    if links is not None:
        links = links._replace(rows=[places[row] for row in links.rows])
    return links, [places[row] for row in rest]


def _read_all(kind: Kind, values: Sequence[bytes | None]) -> tuple[LinkColumns | None, Sequence[int]]:
    columns, rest = read_beginnings(CONTRACTS[kind], values, _WANTED[kind].through)
    if columns is None:
        return None, rest
    try:
        return _links(kind, columns, values), rest
    except (OtherLayoutError, _NotPlainError):
        return None, range(len(values))


def _maybe_about_payments(values: Sequence[bytes | None]) -> list[int]:
    """Places of all receipts but those that say that they are about something else: one in four."""
    prefix, search = CONTRACTS[Kind.RECEIPT].prefix, _OF_ANOTHER_TYPE.search
    return [
        place
        for place, value in enumerate(values)
        if value is None or search(value, _ENVELOPE_BYTES) is None or not value.startswith(prefix)
    ]


class _NotPlainError(Exception):
    """A text is not what stands in records, or a value is laid out otherwise."""


def _links(kind: Kind, columns: FlatColumns, values: Sequence[bytes | None]) -> LinkColumns:
    subject, _, time = _WANTED[kind]
    if kind is Kind.RECEIPT:
        return _admissions(columns, values)
    octets: Any = [values[row] for row in columns.rows]
    keys = _keys(columns, _plain(columns.texts(subject)))
    times: Any = columns.numbers(time) if time else ()
    match kind:
        case Kind.PAYMENT:
            return LinkColumns(kind, columns.rows, keys, _plain(columns.texts(subject)), times=times)
        case Kind.SNAPSHOT:
            return LinkColumns(kind, columns.rows, keys, _snapshot_hashes(octets), times=times)
    ids, digests = _plain(columns.texts("event_id")), [sha256(value).hexdigest() for value in octets]
    about: Texts = ()
    says: Texts = ()
    if kind is Kind.DECISION:
        says = list(map(snapshot_of_decision, octets))
    elif kind is Kind.OUTCOME:
        about = _plain(columns.texts("payload.intent_event_id"))
        says = _plain(columns.texts("payload.outcome"))
    return LinkColumns(kind, columns.rows, keys, ids, digests, times, about, says)


def _admissions(columns: FlatColumns, values: Sequence[bytes | None]) -> LinkColumns:
    """Receipts that admit a payment: few of all."""
    kinds = columns.texts("payload.subject_event_type")
    wanted = [place for place, kind in enumerate(kinds) if kind == _PAYMENT]
    decisions = columns.texts_at("payload.decision", wanted)
    if decisions.count(_ADMIT) < len(wanted):
        admitted = [decision == _ADMIT for decision in decisions]
        wanted = list(compress(wanted, admitted))
    rows = [columns.rows[place] for place in wanted]
    keys = _keys(columns, _plain(columns.texts_at(_SUBJECT, wanted)), wanted)
    digests = [sha256(values[row] or b"").hexdigest() for row in rows]
    return LinkColumns(Kind.RECEIPT, rows, keys, _plain(columns.texts_at("event_id", wanted)), digests)


def _keys(columns: FlatColumns, events: Texts, places: Sequence[int] | None = None) -> Keys:
    """Keys of payments; `events` are those of the rows at `places` (None: of all)."""
    tenants: Iterable[Any]
    runs: Iterable[Any]
    names: set[Any]
    if columns.alike("tenant", "run_id"):
        one = columns.value("tenant", 0), columns.value("run_id", 0)
        tenants, runs, names = repeat(one[0]), repeat(one[1]), set(one)
    else:
        rows = range(len(columns)) if places is None else places
        tenants, runs = columns.texts_at("tenant", rows), columns.texts_at("run_id", rows)
        names = {*tenants, *runs}
    if not _consist_of(_PLAIN, list(names)):
        raise _NotPlainError
    return list(zip(tenants, runs, events, strict=False))


def _plain(texts: Sequence[str | None]) -> Texts:
    """The same texts. Raises _NotPlainError when one is no text that a record can hold."""
    given: Any = texts
    if not _consist_of(_PLAIN, given):
        raise _NotPlainError
    return given  # type: ignore[no-any-return]


def _consist_of(octets: bytes, texts: Texts) -> bool:
    """Whether each text has something, and nothing but these characters (each of them stands for a byte)."""
    return all(texts) and not "".join(texts).encode("latin-1").translate(None, octets)


def _snapshot_hashes(values: Sequence[bytes]) -> Texts:
    hashes = [value[_HASH_TEXT_FROM:].decode("latin-1") for value in values]
    laid_out = all(value[_HASH_FROM:_HASH_TEXT_FROM] == HASH_LENGTH for value in values)
    if not laid_out or not _consist_of(_HEX, hashes):
        raise _NotPlainError
    return hashes
