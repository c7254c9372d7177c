"""Payments encoded by columns are byte for byte what the contract's codec writes, ids included."""

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import sluice_contracts
from sluice_kit.columnar import ColumnarEncoder, EventIds, message_values

CONTRACT = sluice_contracts.contract_for("payment", 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
LONG_TEXT = st.builds(
    lambda unit, length: (unit * length)[:length],
    st.sampled_from(["a", "é", "漢", "🦉"]),
    st.sampled_from([62, 63, 64, 65, 8190, 8191, 8192, 8193]),
)
TEXT = st.one_of(st.text(max_size=70), LONG_TEXT)
PAYLOAD_STRINGS = ("payment_id", "customer_id", "terminal_id", "currency")
PAYLOAD_NULLABLE = (
    "account_id",
    "card_id",
    "merchant_id",
    "merchant_category",
    "channel",
    "device_id",
    "country",
    "ip_address",
)
PAYLOAD = st.fixed_dictionaries(
    {"amount_minor": INT64}
    | dict.fromkeys(PAYLOAD_STRINGS, TEXT)
    | dict.fromkeys(PAYLOAD_NULLABLE, st.none() | TEXT)
)
ENVELOPE = st.fixed_dictionaries(
    {
        "manifest_fingerprint": TEXT,
        "tenant": TEXT,
        "parameter_hash": TEXT,
        "scenario_id": TEXT,
        "run_id": TEXT,
        "seed": st.none() | INT64,
        "emitted_at_utc": st.none() | INT64,
        "producer": TEXT,
        "parent_event_id": st.none() | TEXT,
        "traceparent": st.none() | TEXT,
    }
)


@settings(max_examples=300, deadline=None)
@given(ENVELOPE, st.lists(st.tuples(TEXT, INT64, PAYLOAD), min_size=1, max_size=8))
def test_same_bytes_and_ids_as_the_codec(
    envelope: dict[str, Any], rows: list[tuple[str, int, dict[str, Any]]]
) -> None:
    constants = envelope | {"event_type": "payment", "schema_version": 1}
    keys = [key for key, _, _ in rows]
    pins = ("payment", envelope["manifest_fingerprint"], envelope["run_id"], "payments")
    ids = EventIds(*pins).for_keys(pa.array(keys, pa.string()))
    columns: dict[str, pa.Array] = {
        "event_id": ids,
        "ts_utc": pa.array([ts for _, ts, _ in rows], pa.int64()),
        "payload.amount_minor": pa.array([payload["amount_minor"] for *_, payload in rows], pa.int64()),
    }
    for name in PAYLOAD_STRINGS + PAYLOAD_NULLABLE:
        columns[f"payload.{name}"] = pa.array([payload[name] for *_, payload in rows], pa.string())
    encoder = ColumnarEncoder(CONTRACT.schema, CONTRACT.schema_id, constants)

    expected = [
        sluice_contracts.encode(
            "payment",
            1,
            constants
            | {"event_id": sluice_contracts.event_id_for(*pins, key), "ts_utc": ts, "payload": payload},
        )
        for key, ts, payload in rows
    ]
    assert message_values(encoder.encode(columns)) == expected
