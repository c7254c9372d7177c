"""Reading without checks gives what the codec gives, or leaves the value to it."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import CONTRACTS, Contract, Decoded, encode
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_contracts_codegen.strategies import encodable_fields, valid_fields
from sluice_kit.columnar import UnsupportedFieldError, read_flat
from sluice_kit.columnar.flat_columns import FEWEST_ROWS
from tests.unit.columnar.events import message, payment

SOURCES = load_contracts(REPOSITORY / "contracts")
SCHEMAS = {(schema.event_type, schema.version): schema for schema in SOURCES.schemas}
FLAT = [("payment", 1), ("label", 1), ("graph_context", 1)]


def read_and_compare(contract: Contract, values: Sequence[bytes | None]) -> list[int]:
    """What was left to be decoded one by one; everything else is as the codec decodes it."""
    columns, alone = read_flat(contract, values)
    rows = [] if columns is None else columns.rows
    assert sorted([*rows, *alone]) == list(range(len(values)))
    for place, row in enumerate(rows):
        found = contract.decode(values[row] or b"")
        assert isinstance(found, Decoded)
        assert columns is not None
        for path, value in _flat(found.fields):
            column = columns.texts(path) if _is_text(contract, path) else columns.numbers(path)
            assert column[place] == value
    return alone


def _flat(fields: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    return [
        pair
        for name, value in fields.items()
        for pair in (
            _flat(value, f"{before}{name}.") if isinstance(value, dict) else [(f"{before}{name}", value)]
        )
    ]


def _is_text(contract: Contract, path: str) -> bool:
    kinds = contract.schema["fields"]
    for part in path.split("."):
        kind = next(field["type"] for field in kinds if field["name"] == part)
        kinds = kind["fields"] if isinstance(kind, dict) and "fields" in kind else ()
    return "string" in (kind if isinstance(kind, list) else [kind])


@pytest.mark.parametrize("key", FLAT, ids=str)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_valid_events_are_read_in_columns(key: tuple[str, int], data: st.DataObject) -> None:
    drawn = data.draw(st.lists(valid_fields(SOURCES, SCHEMAS[key]), min_size=1, max_size=3))
    values = [encode(*key, fields) for fields in drawn] * FEWEST_ROWS
    assert read_and_compare(CONTRACTS[key], values) == []


@pytest.mark.parametrize("key", FLAT, ids=str)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_the_batch_is_read_right_or_left_alone(
    key: tuple[str, int], data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(encodable_fields(SOURCES, SCHEMAS[key]), min_size=1, max_size=3))
    values = [encode(*key, fields) for fields in drawn] * FEWEST_ROWS
    broken = data.draw(st.sampled_from(values))
    cut = data.draw(st.integers(5, len(broken)))
    junk = data.draw(st.binary(max_size=8))
    read_and_compare(CONTRACTS[key], [*values, broken[:cut], broken + junk, broken[:cut] + junk])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["c", "c" * 63, "c" * 64, "c" * 300, "\u00e9", "c" * 90 + "\u20ac"]),
            st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_text_beyond_ascii_is_left_alone_whatever_else_has_high_bytes(
    drawn: list[tuple[str, int]],
) -> None:
    rows = drawn * FEWEST_ROWS
    values = [
        encode("payment", 1, payment(number, customer_id=customer, amount_minor=amount))
        for number, (customer, amount) in enumerate(rows)
    ]
    alone = read_and_compare(CONTRACTS["payment", 1], values)
    assert alone == [place for place, (customer, _) in enumerate(rows) if not customer.isascii()]


@pytest.mark.parametrize("odd", [None, b"", b"junk", message(payment(1))[:4]])
def test_a_value_of_another_kind_leaves_the_batch_to_the_codec(odd: bytes | None) -> None:
    values = [message(payment(number)) for number in range(FEWEST_ROWS)]
    assert read_and_compare(CONTRACTS["payment", 1], [*values, odd]) == list(range(FEWEST_ROWS + 1))


def test_whether_rows_are_alike_is_seen_in_their_bytes() -> None:
    def alike(*runs: str) -> bool:
        values = [message(payment(number, run_id=run)) for number, run in enumerate(runs)]
        columns, _ = read_flat(CONTRACTS["payment", 1], values)
        assert columns is not None
        return columns.alike("tenant", "run_id")

    assert alike(*["run-1"] * FEWEST_ROWS)
    assert not alike(*["run-1"] * FEWEST_ROWS, "run-12")
    assert not alike("run-12", *["run-1"] * FEWEST_ROWS)


def test_what_was_read_last_is_given_again_and_nothing_else_for_it() -> None:
    contract = CONTRACTS["payment", 1]
    values: list[bytes | None] = [message(payment(number)) for number in range(FEWEST_ROWS)]
    columns, _ = read_flat(contract, values)
    assert columns is not None
    assert read_flat(contract, list(values))[0] is columns

    values[3] = message(payment(99))

    changed, _ = read_flat(contract, values)
    assert changed is not None
    assert changed.texts("event_id") != columns.texts("event_id")
    assert read_and_compare(contract, values) == []


def test_a_contract_with_lists_cannot_be_read_so() -> None:
    contract = CONTRACTS["feature_snapshot", 1]
    with pytest.raises(UnsupportedFieldError, match="values"):
        read_flat(contract, [contract.prefix] * FEWEST_ROWS)
