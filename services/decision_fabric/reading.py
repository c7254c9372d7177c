"""Reading a batch's records: payments and snapshots by columns, the rest one by one. Pure, needs no state.

A payment that is decided with its snapshot in the batch in which it came is never decoded whole. One that has
to wait is: what waits is kept as fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final, cast

from services.decision_fabric.arrivals import Arrived, Paid, Pins, Snapshot, Told
from services.decision_fabric.model import Fields, event_key
from sluice_contracts import Contract, Decoded, contract_for, decode
from sluice_contracts.wire import SIGNED
from sluice_decisions import SnapshotView
from sluice_kit.columnar import FlatColumns, read_beginnings, read_flat, read_listed
from sluice_kit.stage import Record

PAYMENT, SNAPSHOT = contract_for("payment"), contract_for("feature_snapshot")
STEERING: Final = frozenset({"bundle_activated", "posture", "list_changed"})


def read_records(records: Sequence[Record]) -> list[Arrived]:
    """What each record says, as its own frame tells the kind."""
    payments: list[int] = []
    snapshots: list[int] = []
    others: list[int] = []
    home = {PAYMENT.prefix: payments, SNAPSHOT.prefix: snapshots}
    for index, record in enumerate(records):
        home.get((record.value or b"")[:_FRAME], others).append(index)
    read: list[Arrived] = [None] * len(records)
    for index, payment in zip(payments, _payments([records[at] for at in payments]), strict=True):
        read[index] = payment
    for index, snapshot in zip(snapshots, _snapshots([records[at] for at in snapshots]), strict=True):
        read[index] = snapshot
    for index in others:
        read[index] = _steering(records[index].value)
    return read


def fields_of(record: Record) -> Fields:
    """All of an event that was read before."""
    found = decode(record.value)
    assert isinstance(found, Decoded), found
    return found.fields


_FRAME: Final = len(PAYMENT.prefix)
_LAST_FIELD: Final = "payload.ip_address"
_PAYMENT_TEXTS: Final = (
    "event_id",
    "traceparent",
    "payload.payment_id",
    "payload.customer_id",
    "payload.currency",
)
_SNAPSHOT_TEXTS: Final = (
    "event_id",
    "graph_basis",
    "snapshot_hash",
)
_EVEN: Final = ("values", "freshness")


def _steering(value: bytes | None) -> Decoded | None:
    found = decode(value)
    return found if isinstance(found, Decoded) and found.contract.event_type in STEERING else None


def _decoded(contract: Contract, value: bytes | None) -> Fields | None:
    found = contract.decode(value or b"")
    return found.fields if isinstance(found, Decoded) else None


def _payments(records: Sequence[Record]) -> Sequence[Paid | None]:
    """By columns where all of them can be read so, else one by one."""
    values = [record.value for record in records]
    columns, odd = read_flat(PAYMENT, values)  # in a chain they were read for others already
    if odd:  # what is not plain ASCII can stand where it does not matter here
        columns, odd = read_beginnings(PAYMENT, values, _LAST_FIELD)
    if columns is not None and not odd and _are_plain(columns, _PAYMENT_TEXTS):
        pins = _pins(columns)
        if pins is not None:
            return _paid(columns, pins, records)
    paid = []
    for record in records:
        fields = _decoded(PAYMENT, record.value)
        paid.append(
            None if fields is None else Paid.of(fields, record.topic, record.partition, record.offset)
        )
    return paid


def _paid(columns: FlatColumns, pins: Sequence[Pins], records: Sequence[Record]) -> list[Paid]:
    event_ids = _texts(columns, "event_id")
    tenants, runs = [one.tenant for one in pins], [one.run_id for one in pins]
    rows = zip(
        tenants,
        runs,
        columns.numbers("ts_utc"),
        event_ids,
        map(event_key, tenants, runs, event_ids),
        pins,
        columns.texts("traceparent"),
        columns.texts("payload.payment_id"),
        columns.texts("payload.customer_id"),
        columns.numbers("payload.amount_minor"),
        columns.texts("payload.currency"),
        [record.topic for record in records],
        [record.partition for record in records],
        [record.offset for record in records],
        repeat(_Columns(columns)),
        range(len(records)),
    )
    return list(map(Paid._make, rows))


def _pins(columns: FlatColumns) -> list[Pins] | None:
    """The pins of each row, equal ones as one object; None where some are not plain ASCII."""
    count, seeds = len(columns), columns.numbers("seed")
    if seeds.count(seeds[0]) == count and columns.alike("manifest_fingerprint", "run_id"):
        only = Pins(*(cast("Any", columns.value(name, 0)) for name in Pins._fields))
        return [only] * count if _plain(only) else None
    texts = [_texts(columns, name) for name in Pins._fields[:-1]]
    known: dict[Pins, Pins] = {}
    pins = [known.setdefault(one, one) for one in map(Pins._make, zip(*texts, seeds, strict=True))]
    return pins if all(map(_plain, known)) else None


def _plain(pins: Pins) -> bool:
    return "".join(pins[:-1]).isascii()


def _snapshots(records: Sequence[Record]) -> Sequence[Snapshot | None]:
    """By columns where all of them can be read so, else one by one."""
    columns, odd = read_listed(SNAPSHOT, [record.value for record in records], _EVEN)
    if columns is not None and not odd and _are_plain(columns, _SNAPSHOT_TEXTS):
        found = _columnar_snapshots(columns)
        if found is not None:
            return found
    decoded = [_decoded(SNAPSHOT, record.value) for record in records]
    return [None if fields is None else Snapshot.of(fields) for fields in decoded]


def _columnar_snapshots(columns: FlatColumns) -> list[Snapshot] | None:
    """None where tenant, run or feature set are not plain ASCII."""
    of_run = _shared(columns, "tenant", "run_id")
    of_set = _shared(columns, "feature_set.name", "feature_set.revision", "feature_set.hash")
    if of_run is None or of_set is None:
        return None
    missing = columns.lists("missing")
    positions = {encoded: [SIGNED[ord(octet)] for octet in encoded[1:-1]] for encoded in set(missing)}
    views = zip(
        columns.matrix("values").tolist(),
        map(positions.__getitem__, missing),
        of_set[-1],
        columns.texts("snapshot_hash"),
        columns.numbers("graph_version"),
        columns.filled("degraded"),
        strict=False,
    )
    keys = map(event_key, *of_run, _texts(columns, "event_id"))
    rows = zip(keys, map(SnapshotView._make, views), columns.texts("graph_basis"), strict=True)
    return list(map(Snapshot._make, rows))


def _shared(columns: FlatColumns, *names: str) -> list[Iterable[str]] | None:
    """Texts that stand together and mostly are the same in all rows; None where some are not plain ASCII."""
    if columns.alike(names[0], names[-1]):
        texts = [str(columns.value(name, 0)) for name in names]
        return [repeat(text) for text in texts] if "".join(texts).isascii() else None
    return [_texts(columns, name) for name in names] if _are_plain(columns, names) else None


def _texts(columns: FlatColumns, path: str) -> list[str]:
    return cast("list[str]", columns.texts(path))


def _are_plain(columns: FlatColumns, paths: Sequence[str]) -> bool:
    """Whether the texts of some fields are ASCII; others have to be decoded."""
    return all("".join(filter(None, columns.texts(path))).isascii() for path in paths)


class _Columns:
    """Payments that were read by columns."""

    def __init__(self, columns: FlatColumns) -> None:
        self._columns = columns
        self._told: dict[tuple[str, ...], list[Told]] = {}

    def told(self, names: tuple[str, ...]) -> Sequence[Told]:
        """See PaymentSource."""
        told = self._told.get(names)
        if told is None:
            told = self._told[names] = self._read(names)
        return told

    def _read(self, names: tuple[str, ...]) -> list[Told]:
        columns = {name: values for name in names if (values := self._values(name)) is not None}
        if not columns:
            return [{}] * len(self._columns)
        rows = zip(*columns.values(), strict=True)
        if not any(None in values for values in columns.values()):
            return [dict(zip(columns, row, strict=True)) for row in rows]
        return [
            {name: value for name, value in zip(columns, row, strict=True) if value is not None}
            for row in rows
        ]

    def _values(self, name: str) -> Sequence[str | int | None] | None:
        path = f"payload.{name}"
        try:
            texts = self._columns.texts(path)
        except KeyError:
            try:
                return self._columns.numbers(path)
            except KeyError:
                return None
        if "".join(filter(None, texts)).isascii():
            return texts
        return [None if text is None else text.encode("latin-1").decode() for text in texts]
