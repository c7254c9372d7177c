"""From records to payments in the order in which they are counted: run by run, by `ts_utc`."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sluice_contracts import Decoded, contract_for, decode
from sluice_kit.columnar import FlatColumns, read_flat
from sluice_kit.stage import Record

PAYMENT: Final = contract_for("payment", 1)
PINS: Final = ("manifest_fingerprint", "tenant", "parameter_hash", "scenario_id", "run_id", "seed")


class Payment(NamedTuple):
    """A payment to be counted.

    Their order as tuples is the order of counting, so what is counted first does not depend on how records
    of several partitions came to stand in a batch. `number` is that of the record in the batch.
    """

    run: str
    ts_utc: int
    partition: int
    offset: int
    number: int
    event_id: str
    currency: str
    amount: int


def read_payments(records: Sequence[Record]) -> list[Payment]:
    """The payments among records of the payment topic, in order; what is no payment is left out."""
    columns, others = read_flat(PAYMENT, [record.value for record in records])
    payments = [] if columns is None else list(_in_columns(columns, records))
    payments += [
        _alone(records[number], number, found.fields)
        for number in others
        if isinstance(found := decode(records[number].value), Decoded) and found.contract is PAYMENT
    ]
    payments.sort()
    return payments


def pins_of(record: Record) -> dict[str, Any]:
    """The pins of the run that a payment belongs to."""
    found = decode(record.value)
    assert isinstance(found, Decoded), "a payment was read from it"
    return {name: found.fields[name] for name in PINS}


def run_key(tenant: Any, run_id: Any) -> str:
    """A run, as a key."""
    return f"{tenant}|{run_id}"


def _in_columns(columns: FlatColumns, records: Sequence[Record]) -> Iterator[Payment]:
    if columns.alike("tenant", "run_id"):
        runs = [run_key(columns.value("tenant", 0), columns.value("run_id", 0))] * len(columns)
    else:
        runs = list(map(run_key, columns.texts("tenant"), columns.texts("run_id")))
    read = [records[number] for number in columns.rows]
    return map(
        Payment,
        runs,
        columns.numbers("ts_utc"),
        [record.partition for record in read],
        [record.offset for record in read],
        columns.rows,
        columns.texts("event_id"),
        columns.texts("payload.currency"),
        columns.numbers("payload.amount_minor"),
    )


def _alone(record: Record, number: int, fields: dict[str, Any]) -> Payment:
    payload = fields["payload"]
    return Payment(
        run_key(fields["tenant"], fields["run_id"]),
        fields["ts_utc"],
        record.partition,
        record.offset,
        number,
        fields["event_id"],
        payload["currency"],
        payload["amount_minor"],
    )
