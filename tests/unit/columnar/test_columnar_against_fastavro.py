"""The columnar encoder and fastavro write the same bytes for any schema of the supported kinds."""

import io
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_kit.columnar import (
    ColumnarEncoder,
    ColumnValueError,
    UnsupportedFieldError,
    message_sizes,
    message_values,
)

SYMBOLS = ["pos", "ecom", "atm", "moto"]
CHANNEL = {"type": "enum", "name": "Channel", "symbols": SYMBOLS}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Row",
    "namespace": "test.columnar",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "version", "type": "int"},
        {"name": "seed", "type": ["null", "long"], "default": None},
        {
            "name": "payload",
            "type": {
                "type": "record",
                "name": "Payload",
                "fields": [
                    {"name": "amount", "type": "long"},
                    {"name": "count", "type": "int"},
                    {"name": "card", "type": ["null", "string"], "default": None},
                    {"name": "blob", "type": ["bytes", "null"]},
                    {"name": "flag", "type": ["null", "boolean"]},
                    {"name": "channel", "type": ["null", CHANNEL]},
                    {"name": "other_channel", "type": "test.columnar.Channel"},
                    {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
                ],
            },
        },
    ],
}
PARSED = fastavro.parse_schema(SCHEMA)
INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
LONG_TEXT = st.builds(
    lambda unit, length: (unit * length)[:length],
    st.sampled_from(["a", "é", "漢", "🦉"]),
    st.sampled_from([62, 63, 64, 65, 8190, 8191, 8192, 8193, 70_000]),
)
TEXT = st.one_of(st.text(max_size=80), st.just(""), LONG_TEXT)
TYPES = {
    "event_id": pa.string(),
    "ts": pa.int64(),
    "payload.amount": pa.int64(),
    "payload.count": pa.int32(),
    "payload.card": pa.string(),
    "payload.blob": pa.binary(),
    "payload.flag": pa.bool_(),
    "payload.channel": pa.string(),
    "payload.other_channel": pa.string(),
    "payload.at": pa.int64(),
}
ROW = st.fixed_dictionaries(
    {
        "event_id": TEXT,
        "ts": INT64,
        "payload.amount": INT64,
        "payload.count": INT32,
        "payload.card": st.none() | TEXT,
        "payload.blob": st.none() | st.binary(max_size=200),
        "payload.flag": st.none() | st.booleans(),
        "payload.channel": st.none() | st.sampled_from(SYMBOLS),
        "payload.other_channel": st.sampled_from(SYMBOLS),
        "payload.at": st.none() | INT64,
    }
)


def nested(row: dict[str, Any], constants: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {"payload": {}}
    for path, value in (row | constants).items():
        head, _, tail = path.partition(".")
        if tail:
            fields[head][tail] = value
        else:
            fields[head] = value
    return fields


def by_fastavro(rows: list[dict[str, Any]], constants: dict[str, Any]) -> list[bytes]:
    messages = []
    for row in rows:
        sink = io.BytesIO()
        fastavro.schemaless_writer(sink, PARSED, nested(row, constants))
        messages.append(b"\x00\x00\x00\x01\x02" + sink.getvalue())
    return messages


def table(rows: list[dict[str, Any]]) -> dict[str, pa.Array]:
    return {path: pa.array([row[path] for row in rows], kind) for path, kind in TYPES.items()}


@settings(max_examples=300, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=12), st.none() | INT64, st.booleans())
def test_same_bytes_as_fastavro(rows: list[dict[str, Any]], seed: int | None, parsed: bool) -> None:
    constants = {"version": 7, "seed": seed}
    encoder = ColumnarEncoder(PARSED if parsed else SCHEMA, 258, constants)
    messages = encoder.encode(table(rows))
    assert message_values(messages) == by_fastavro(rows, constants)
    assert message_sizes(messages).tolist() == [len(value) for value in by_fastavro(rows, constants)]


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=2, max_size=12))
def test_other_arrow_layouts_give_the_same_bytes(
    rows: list[dict[str, Any]],
) -> None:
    constants = {"version": 1, "seed": None}
    columns = table(rows)
    columns["payload.card"] = columns["payload.card"].dictionary_encode()
    columns["payload.channel"] = columns["payload.channel"].dictionary_encode()
    columns["payload.other_channel"] = columns["payload.other_channel"].dictionary_encode()
    columns["event_id"] = columns["event_id"].cast(pa.large_string())
    columns["ts"] = columns["ts"].cast(pa.timestamp("us", tz="UTC"))
    columns["payload.at"] = columns["payload.at"].cast(pa.timestamp("us"))
    tail = {path: column.slice(1) for path, column in columns.items()}
    encoder = ColumnarEncoder(PARSED, 258, constants)
    assert message_values(encoder.encode(tail)) == by_fastavro(rows[1:], constants)


def test_an_all_null_column_of_type_null_is_the_null_branch() -> None:
    rows = [
        {"event_id": "a", "ts": 1, "payload.amount": -1, "payload.count": 0, "payload.card": None}
        | {"payload.blob": None, "payload.flag": None, "payload.channel": None, "payload.at": None}
        | {"payload.other_channel": "atm"}
    ] * 3
    columns = table(rows)
    for path in ("payload.card", "payload.blob", "payload.flag", "payload.channel", "payload.at"):
        columns[path] = pa.nulls(3)
    constants = {"version": 1, "seed": 5}
    encoder = ColumnarEncoder(PARSED, 258, constants)
    assert message_values(encoder.encode(columns)) == by_fastavro(rows, constants)


def one_row() -> dict[str, pa.Array]:
    return table(
        [dict.fromkeys(TYPES) | {"event_id": "a", "ts": 1, "payload.amount": 1, "payload.count": 1}
         | {"payload.other_channel": "pos"}]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "column", "says"),
    [
        ("event_id", pa.array([None], pa.string()), "event_id, row 0 of the batch: null in a required field"),
        ("payload.other_channel", pa.array(["cash"]), "'cash' is not one of pos, ecom, atm, moto"),
        ("payload.count", pa.array([2**31]), "2147483648 does not fit 32 bits"),
        ("payload.amount", pa.array([1.5]), "a column of integers is wanted, this one is double"),
        ("payload.amount", pa.array([2**63], pa.uint64()), "uint64 does not fit long"),
        ("payload.card", pa.array([3]), "a column of strings is wanted, this one is int64"),
        ("payload.flag", pa.array([3]), "a column of booleans is wanted"),
        ("ts", pa.array([1, 2]), "has 2 rows, the columns before it 1"),
    ],
)
def test_a_column_that_does_not_fit_is_named(path: str, column: pa.Array, says: str) -> None:
    encoder = ColumnarEncoder(PARSED, 1, {"version": 1, "seed": None})
    with pytest.raises(ColumnValueError, match="^" + path) as caught:
        encoder.encode(one_row() | {path: column})
    assert says in str(caught.value)


def test_a_missing_column_is_named() -> None:
    encoder = ColumnarEncoder(PARSED, 1, {"version": 1, "seed": None})
    columns = one_row()
    del columns["payload.amount"]
    with pytest.raises(ColumnValueError, match=r"payload\.amount: the batch has no such column"):
        encoder.encode(columns)


def test_constants_are_checked_when_the_encoder_is_built() -> None:
    with pytest.raises(UnsupportedFieldError, match="does not have: colour"):
        ColumnarEncoder(PARSED, 1, {"colour": "red"})
    with pytest.raises(UnsupportedFieldError, match="version: the constant 'seven' does not fit"):
        ColumnarEncoder(PARSED, 1, {"version": "seven"})
    floats = {"type": "record", "name": "F", "fields": [{"name": "x", "type": "double"}]}
    with pytest.raises(UnsupportedFieldError, match="x: Avro type 'double' can only be a constant"):
        ColumnarEncoder(floats, 1, {})


def test_an_empty_batch_encodes_to_nothing() -> None:
    encoder = ColumnarEncoder(PARSED, 1, {"version": 1, "seed": None})
    assert message_values(encoder.encode(table([]))) == []
