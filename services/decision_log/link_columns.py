"""Links of many records of one kind at once: the same as `link_reader` reads, by columns.

What cannot be read so (few records, other layouts, texts that are not plain) is left to `link_reader`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import compress, repeat
from typing import Any, Final, NamedTuple

from services.decision_log.links import CONTRACTS, Kind, OtherLayoutError, snapshot_of_decision
from sluice_kit.columnar import FlatColumns, read_beginnings

Keys = Sequence[tuple[str, str, str]]
Texts = Sequence[str]
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_HEX: Final = re.compile(r"[0-9a-f]+")
_OF_A_PAYMENT: Final = b"\x02\x0epayment\x02"
_ADMITTED_PAYMENT: Final = ("ADMIT", "payment")
_HASH: Final = b"\x80\x01"
_HASH_FROM, _HASH_TEXT_FROM = -66, -64
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
    wanted: Sequence[int] = range(len(values))
    if kind is Kind.RECEIPT:
        wanted = _of_payments(values)
        values = [values[place] for place in wanted]
    columns, rest = read_beginnings(CONTRACTS[kind], values, _WANTED[kind].through)
    if columns is None:
        return None, wanted
    try:
        links = _links(kind, columns, values)
    except (OtherLayoutError, _NotPlainError):
        return None, wanted
    if kind is Kind.RECEIPT:
        links = _admitted(columns, links)
        places = [wanted[row] for row in links.rows]  # among all values
        return links._replace(rows=places), [wanted[place] for place in rest]
    return links, rest


def _of_payments(values: Sequence[bytes | None]) -> Sequence[int]:
    """Places of receipts that may be of a payment, and of whatever is laid out otherwise."""
    if not all(values) or not all(map(bytes.startswith, values, repeat(CONTRACTS[Kind.RECEIPT].prefix))):  # type: ignore[arg-type]
        return range(len(values))
    return [place for place, value in enumerate(values) if value.rfind(_OF_A_PAYMENT) >= 0]  # type: ignore[union-attr]


class _NotPlainError(Exception):
    """A text is not what stands in records, or a value is laid out otherwise."""


def _links(kind: Kind, columns: FlatColumns, values: Sequence[bytes | None]) -> LinkColumns:
    subject, _, time = _WANTED[kind]
    octets: Any = [values[row] for row in columns.rows]
    keys = _keys(columns, _plain(columns, subject))
    times: Any = columns.numbers(time) if time else ()
    match kind:
        case Kind.PAYMENT:
            return LinkColumns(kind, columns.rows, keys, _plain(columns, subject), times=times)
        case Kind.SNAPSHOT:
            return LinkColumns(kind, columns.rows, keys, _snapshot_hashes(octets), times=times)
    ids, digests = _plain(columns, "event_id"), [sha256(value).hexdigest() for value in octets]
    about: Texts = ()
    says: Texts = ()
    if kind is Kind.DECISION:
        says = list(map(snapshot_of_decision, octets))
    elif kind is Kind.OUTCOME:
        about, says = _plain(columns, "payload.intent_event_id"), _plain(columns, "payload.outcome")
    return LinkColumns(kind, columns.rows, keys, ids, digests, times, about, says)


def _admitted(columns: FlatColumns, links: LinkColumns) -> LinkColumns:
    """Of receipts those that admit a payment."""
    decisions, kinds = columns.texts("payload.decision"), columns.texts("payload.subject_event_type")
    wanted = [pair == _ADMITTED_PAYMENT for pair in zip(decisions, kinds, strict=True)]
    if all(wanted):
        return links
    rows, keys, ids, digests = (
        list(compress(column, wanted)) for column in (links.rows, links.keys, links.ids, links.digests)
    )
    return LinkColumns(links.kind, rows, keys, ids, digests)  # type: ignore[arg-type]


def _keys(columns: FlatColumns, events: Texts) -> Keys:
    if columns.alike("tenant", "run_id"):
        one = columns.value("tenant", 0), columns.value("run_id", 0)
        tenants, runs, all_runs = repeat(one[0]), repeat(one[1]), set(one)
    else:
        tenants, runs = iter(columns.texts("tenant")), iter(columns.texts("run_id"))  # type: ignore[assignment]
        all_runs = {*columns.texts("tenant"), *columns.texts("run_id")}
    if not all(map(_PLAIN.fullmatch, all_runs)):  # type: ignore[arg-type]
        raise _NotPlainError
    return list(zip(tenants, runs, events, strict=False))  # type: ignore[arg-type]


def _plain(columns: FlatColumns, path: str) -> Texts:
    """The texts of a field. Raises _NotPlainError when one is no text that a record can hold."""
    texts: Any = columns.texts(path)
    if not all(texts) or _PLAIN.fullmatch("".join(texts)) is None:
        raise _NotPlainError
    return texts  # type: ignore[no-any-return]


def _snapshot_hashes(values: Sequence[bytes]) -> Texts:
    hashes = [value[_HASH_TEXT_FROM:].decode("latin-1") for value in values]
    laid_out = all(value[_HASH_FROM:_HASH_TEXT_FROM] == _HASH for value in values)
    if not laid_out or _HEX.fullmatch("".join(hashes)) is None:
        raise _NotPlainError
    return hashes
