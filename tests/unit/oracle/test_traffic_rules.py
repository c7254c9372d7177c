"""The columnar rules and the contract's own check say the same of every value."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import contract_for
from sluice_oracle.columns import TRAFFIC_SCHEMAS
from sluice_oracle.traffic_rules import TRAFFIC_RULES, BrokenRule, broken_rules

NOON = 1_767_225_600_000_000
GOOD: dict[str, dict[str, Any]] = {
    "payment": {
        "ts_utc": NOON,
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
    },
    "label": {
        "ts_utc": NOON,
        "label_id": "LP1",
        "payment_id": "P1",
        "customer_id": "C1",
        "terminal_id": "T1",
        "account_id": None,
        "card_id": None,
        "merchant_id": None,
        "device_id": None,
        "label": "FRAUD",
        "effective_time": 1_766_620_800_000_000,
        "observed_time": NOON,
        "source": "world_truth",
    },
}
TEXT_FIELDS = [
    (event_type, name)
    for event_type, row in GOOD.items()
    for name, value in row.items()
    if not isinstance(value, int)
]
NOT_IN_WORLDS = {"subject_event_id"}
"""It names a run's event; a world belongs to no run."""


def by_contract(event_type: str, row: dict[str, Any]) -> set[str]:
    fields = {
        "event_id": "0" * 64,
        "event_type": event_type,
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
    if event_type == "label":
        fields["payload"] |= dict.fromkeys(NOT_IN_WORLDS)
    broken = contract_for(event_type).check(fields)
    return {violation.path.removeprefix("payload.") for violation in broken}


def found(event_type: str, row: dict[str, Any], dictionary: bool = False) -> list[BrokenRule]:
    loose = pa.schema([field.with_nullable(True) for field in TRAFFIC_SCHEMAS[event_type]])
    batch = pa.RecordBatch.from_pylist([row | {"row_key": "K"}], schema=loose)
    if dictionary:
        columns = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in batch.columns]
        batch = pa.RecordBatch.from_arrays(columns, batch.schema.names)
    return list(broken_rules(batch, TRAFFIC_RULES[event_type]))


def by_columns(event_type: str, row: dict[str, Any], dictionary: bool = False) -> set[str]:
    broken = found(event_type, row, dictionary)
    return {rule.column for rule in broken if not rule.rule.startswith("not ")}


@pytest.mark.parametrize("event_type", GOOD)
def test_the_columns_are_the_fields_of_the_contract(event_type: str) -> None:
    schema = contract_for(event_type).schema
    payload = next(field for field in schema["fields"] if field["name"] == "payload")
    fields = [field for field in payload["type"]["fields"] if field["name"] not in NOT_IN_WORLDS]
    columns = TRAFFIC_SCHEMAS[event_type]
    assert columns.names == ["ts_utc", "row_key", *(field["name"] for field in fields)]
    optional = {field["name"] for field in fields if isinstance(field["type"], list)}
    assert {field.name for field in columns if field.nullable} == optional
    assert found(event_type, GOOD[event_type]) == []


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
@given(place=st.sampled_from(TEXT_FIELDS), value=texts, dictionary=st.booleans())
def test_texts_are_judged_alike(place: tuple[str, str], value: str | None, dictionary: bool) -> None:
    event_type, field = place
    row = GOOD[event_type] | {field: value}
    assert by_columns(event_type, row, dictionary) == by_contract(event_type, row)


NEAR_MISSES = [
    *("FRAUDS", "fraud", "LEGIT", "LEGI"),
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


@pytest.mark.parametrize(("event_type", "field"), TEXT_FIELDS)
def test_near_misses_are_judged_alike_in_every_field(event_type: str, field: str) -> None:
    for value in NEAR_MISSES:
        row = GOOD[event_type] | {field: value}
        assert (value, by_columns(event_type, row)) == (value, by_contract(event_type, row))


NUMBERS = [
    (kind, name) for kind, row in GOOD.items() for name, value in row.items() if isinstance(value, int)
]
edges = st.sampled_from([-1, 0, 1, 10**15, 10**15 + 1, 253_402_300_799_999_999, 253_402_300_800_000_000])


@given(place=st.sampled_from(NUMBERS), value=edges | st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_judged_alike(place: tuple[str, str], value: int) -> None:
    event_type, field = place
    row = GOOD[event_type] | {field: value}
    assert by_columns(event_type, row) == by_contract(event_type, row)


@pytest.mark.parametrize(
    ("event_type", "field"),
    [
        *(("payment", name) for name in ("ts_utc", "amount_minor", "payment_id", "currency")),
        *(("label", name) for name in ("ts_utc", "label_id", "label", "effective_time", "source")),
    ],
)
def test_required_fields_are_required_by_both(event_type: str, field: str) -> None:
    row = GOOD[event_type] | {field: None}
    assert by_columns(event_type, row) == by_contract(event_type, row) == {field}


def test_a_label_comes_when_it_is_learnt() -> None:
    (broken,) = found("label", GOOD["label"] | {"ts_utc": NOON - 1})
    assert broken.reason == "ts_utc: not observed_time"
