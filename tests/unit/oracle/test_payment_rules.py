"""The columnar rules and the contract's own check say the same of every value."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import contract_for
from sluice_oracle import PAYMENT_SCHEMA
from sluice_oracle.payment_rules import broken_rules

CONTRACT = contract_for("payment")
GOOD: dict[str, Any] = {
    "ts_utc": 1_767_225_600_000_000,
    "payment_id": "P1",
    "customer_id": "C1",
    "terminal_id": "T1",
    "amount_minor": 100,
    "currency": "EUR",
    "account_id": None,
    "card_id": None,
    "merchant_id": None,
    "merchant_category": None,
    "channel": None,
    "device_id": None,
    "country": None,
    "ip_address": None,
}
TEXT_FIELDS = [name for name in GOOD if name not in {"ts_utc", "amount_minor"}]
LOOSE_SCHEMA = pa.schema([field.with_nullable(True) for field in PAYMENT_SCHEMA])


def by_contract(row: dict[str, Any]) -> set[str]:
    fields = {
        "event_id": "0" * 64,
        "event_type": "payment",
        "ts_utc": row["ts_utc"],
        "schema_version": 1,
        "manifest_fingerprint": "0" * 64,
        "tenant": "default",
        "parameter_hash": "0" * 64,
        "scenario_id": "s",
        "run_id": "r",
        "seed": None,
        "emitted_at_utc": None,
        "producer": "world_stream_producer",
        "parent_event_id": None,
        "traceparent": None,
        "payload": {name: value for name, value in row.items() if name != "ts_utc"},
    }
    return {violation.path.removeprefix("payload.") for violation in CONTRACT.check(fields)}


def by_columns(row: dict[str, Any], dictionary: bool = False) -> set[str]:
    batch = pa.RecordBatch.from_pylist([row | {"row_key": "K"}], schema=LOOSE_SCHEMA)
    if dictionary:
        columns = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in batch.columns]
        batch = pa.RecordBatch.from_arrays(columns, batch.schema.names)
    return {broken.column for broken in broken_rules(batch)}


def test_the_columns_are_the_fields_of_the_contract() -> None:
    payload = next(field for field in CONTRACT.schema["fields"] if field["name"] == "payload")
    names = [field["name"] for field in payload["type"]["fields"]]
    assert PAYMENT_SCHEMA.names == ["ts_utc", "row_key", *names]
    required = {field["name"] for field in payload["type"]["fields"] if isinstance(field["type"], str)}
    assert {field.name for field in PAYMENT_SCHEMA if not field.nullable} == {"ts_utc", "row_key", *required}


texts = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.from_regex(r"[A-Za-z0-9_.:-]{1,6}", fullmatch=True),
    st.sampled_from(
        [
            "EUR",
            "EUR\n",
            "eur",
            "DE",
            "5411",
            "54111",
            "pos",
            "ecom",
            "moto",
            "POS",
            "",
            "::1",
            "1.2.3.4",
            "a" * 128,
        ]
    ),
    st.integers(120, 135).map(lambda length: "a" * length),
)


@settings(max_examples=400)
@given(field=st.sampled_from(TEXT_FIELDS), value=texts, dictionary=st.booleans())
def test_texts_are_judged_alike(field: str, value: str | None, dictionary: bool) -> None:
    row = GOOD | {field: value}
    assert by_columns(row, dictionary) == by_contract(row)


NEAR_MISSES = [
    *(
        "EU",
        "EURO",
        "E1R",
        "EUr",
        "D",
        "DEU",
        "D1",
        "541",
        "54111",
        "5a11",
        "poss",
        "po",
        "POS",
        "atm",
        "moto",
    ),
    *(
        "1",
        "::",
        "g::",
        "1.2.3.4",
        "a" * 45,
        "a" * 46,
        "a" * 128,
        "a" * 129,
        ".a",
        "-a",
        "_a",
        "a b",
        "é",
        "a\n",
    ),
]


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_near_misses_are_judged_alike_in_every_field(field: str) -> None:
    for value in NEAR_MISSES:
        row = GOOD | {field: value}
        assert (value, by_columns(row)) == (value, by_contract(row))


edges = st.sampled_from([-1, 0, 1, 10**15, 10**15 + 1, 253_402_300_799_999_999, 253_402_300_800_000_000])


@given(field=st.sampled_from(["ts_utc", "amount_minor"]), value=edges | st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_judged_alike(field: str, value: int) -> None:
    row = GOOD | {field: value}
    assert by_columns(row) == by_contract(row)


@pytest.mark.parametrize("field", ["ts_utc", "amount_minor", "payment_id", "currency"])
def test_required_fields_are_required_by_both(field: str) -> None:
    row = GOOD | {field: None}
    assert by_columns(row) == by_contract(row) == {field}
