"""Batches of events for the tests of reading by columns, and what the scalar way says about them."""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sluice_contracts import CONTRACTS, Contract, Decoded, decode, encode, payload_hash
from sluice_kit.columnar import EventColumns, EventContext, read_columns
from sluice_kit.columnar.reader import FEWEST_ROWS

Fields = dict[str, Any]


def payment(number: int, **changes: Any) -> Fields:
    """The fields of a valid payment like those of a world; `changes` are of the envelope or the payload."""

    def digest(kind: str) -> str:
        return hashlib.sha256(f"{kind}{number}".encode()).hexdigest()

    customer = number * 7 % 501
    fields: Fields = {
        "event_id": digest("event"),
        "event_type": "payment",
        "ts_utc": 1_760_000_000_000_000 + number * 1_000,
        "schema_version": 1,
        "manifest_fingerprint": hashlib.sha256(b"manifest").hexdigest(),
        "tenant": "default",
        "parameter_hash": hashlib.sha256(b"parameters").hexdigest(),
        "scenario_id": "baseline",
        "run_id": "run-1",
        "seed": 42,
        "emitted_at_utc": None if number % 5 == 0 else 1_760_000_000_000_009 + number,
        "producer": "world_stream_producer",
        "parent_event_id": None,
        "traceparent": f"00-{digest('trace')[:32]}-{digest('span')[:16]}-01",
        "payload": {
            "payment_id": f"pay-{number:08d}",
            "customer_id": f"cust-{customer}",
            "terminal_id": f"term-{number % 90:04d}",
            "amount_minor": number * number * 13,
            "currency": ("EUR", "EUR", "USD")[number % 3],
            "account_id": f"acc-{customer}",
            "card_id": f"card-{customer}",
            "merchant_id": f"mer-{number % 31}",
            "merchant_category": ("5411", "5812")[number % 2],
            "channel": ("pos", "ecom", "atm", "moto", None)[number % 5],
            "device_id": None,
            "country": "DE",
            "ip_address": None if number % 3 else "10.1.2.3",
        },
    }
    for name, value in changes.items():
        (fields if name in fields else fields["payload"])[name] = value
    return fields


def run_closed(number: int, **changes: Any) -> Fields:
    """The fields of a valid closing of a run."""
    envelope = {name: value for name, value in payment(number).items() if name != "payload"}
    payload = {"reason": f"all {number} events are out", "events_expected": number if number % 2 else None}
    return envelope | {"event_type": "run_closed", "payload": payload | changes}


def decision(number: int, **changes: Any) -> Fields:
    """The fields of a valid decision about a payment."""
    about = payment(number)
    paid = about.pop("payload")
    payload: Fields = {
        "subject_event_id": about["event_id"],
        "payment_id": paid["payment_id"],
        "customer_id": paid["customer_id"],
        "amount_minor": paid["amount_minor"],
        "currency": "EUR",
        "outcome": "ALLOW",
        "mode": "MODEL",
        "reason_codes": ["LOW_RISK"],
        "score_ppm": number,
        "attributions": [],
        "bundle_id": "payments",
        "bundle_revision": "r1",
        "bundle_hash": "a" * 64,
        "policy_revision": "p1",
        "feature_set_hash": "b" * 64,
        "snapshot_hash": hashlib.sha256(b"%d" % number).hexdigest(),
        "graph_version": number,
        "graph_basis": "c" * 64,
        "posture": "NORMAL",
        "posture_event_id": None,
        "decided_at": about["ts_utc"],
        "deadline": None,
        "payment": {"topic": "traffic.payment", "partition": number % 4, "offset": number},
        "input_basis": "d" * 64,
    }
    return about | {"event_type": "decision", "payload": payload | changes}


def message(fields: Fields) -> bytes:
    """The framed bytes of fields; rules are not asked."""
    return encode(fields["event_type"], fields["schema_version"], fields)


PLAIN: Final = [message(payment(number)) for number in range(FEWEST_ROWS)]
"""As many payments as make the fast way begin."""


def with_plain(values: Sequence[bytes | None]) -> list[bytes | None]:
    """The values, each among plain payments: one before it, one behind it, and enough of them in all."""
    mixed: list[bytes | None] = []
    for number, value in enumerate(values):
        mixed += [PLAIN[number % len(PLAIN)], value]
    return mixed + PLAIN


@cache
def sound(value: bytes | None) -> tuple[Contract, Fields, bytes] | None:
    """Contract, fields by dotted path and payload hash that the scalar way gives, None when it refuses."""
    decoded = decode(value)
    if not isinstance(decoded, Decoded) or value is None or len(value) > decoded.contract.max_bytes:
        return None
    if not decoded.contract.enveloped or decoded.contract.check(decoded.fields):
        return None
    return decoded.contract, flat(decoded.fields), payload_hash(decoded.fields)


def flat(fields: Fields, parent: str = "") -> Fields:
    """Dotted path to value."""
    found: Fields = {}
    for name, value in fields.items():
        found |= flat(value, f"{parent}{name}.") if isinstance(value, dict) else {f"{parent}{name}": value}
    return found


def read_and_compare(values: Sequence[bytes | None]) -> tuple[list[EventColumns], list[int]]:
    """Read by columns, and demand that everything equals what the scalar way gives."""
    read, alone = read_columns(values)
    taken = [row for columns in read for row in columns.rows]
    assert sorted(taken + alone) == list(range(len(values)))
    assert alone == sorted(alone)
    for columns in read:
        _compare(columns, values)
    return read, alone


def _compare(columns: EventColumns, values: Sequence[bytes | None]) -> None:
    assert columns.rows
    assert columns.rows == sorted(columns.rows)
    wanted: list[Fields] = []
    for row, found_hash in zip(columns.rows, columns.payload_hashes, strict=True):
        scalar = sound(values[row])
        assert scalar is not None, f"row {row} was taken, {values[row]!r} is not sound"
        contract, fields, wanted_hash = scalar
        assert contract is columns.contract
        assert found_hash == wanted_hash
        wanted.append(fields)
    assert [_as_fields(context) for context in columns.contexts] == [
        {name: fields[name] for name in EventContext.__slots__} for fields in wanted
    ]
    for path, kind in field_kinds(columns.contract).items():
        if kind == "array":
            continue  # in the payload hash, and in no column
        found = columns.texts(path) if kind == "string" else columns.numbers(path)
        assert found == [fields[path] for fields in wanted], path
        assert {type(value) for value in found} <= {str if kind == "string" else int, type(None)}, path


def _as_fields(context: EventContext) -> Fields:
    return {name: getattr(context, name) for name in EventContext.__slots__}


@cache
def field_kinds(contract: Contract) -> dict[str, str]:
    """Dotted path to `string`, `int` or `long`, nullable or not, or to `array`."""

    def walk(record: Any, parent: str) -> dict[str, str]:
        kinds: dict[str, str] = {}
        for field in record["fields"]:
            declared = field["type"]
            declared = declared[1] if isinstance(declared, list) else declared
            if isinstance(declared, dict) and declared["type"] == "record":
                kinds |= walk(declared, f"{parent}{field['name']}.")
            else:
                kinds[parent + field["name"]] = declared if isinstance(declared, str) else declared["type"]
        return kinds

    return walk(contract.schema, "")


READABLE: Final = [
    ("action_intent", 1),
    ("action_outcome", 1),
    ("audit_checkpoint", 1),
    ("decision", 1),
    ("decision_segment", 1),
    ("label", 1),
    ("list_changed", 1),
    ("payment", 1),
    ("posture", 1),
    ("run_closed", 1),
    ("run_evidence", 1),
    ("run_ready", 1),
    ("uncompared_replay", 1),
]
"""Contracts whose events are read by columns today."""
OTHERS: Final = sorted(set(CONTRACTS) - set(READABLE))
