"""What is read by columns is what decoding, checking and hashing one event after the other gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import CONTRACTS, encode
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_contracts_codegen.strategies import encodable_fields, valid_fields
from sluice_kit.columnar import read_columns
from sluice_kit.columnar.reader import FEWEST_ROWS
from tests.unit.columnar.events import (
    OTHERS,
    PLAIN,
    READABLE,
    decision,
    message,
    payment,
    read_and_compare,
    run_closed,
    with_plain,
)

SOURCES = load_contracts(REPOSITORY / "contracts")
SCHEMAS = {(schema.event_type, schema.version): schema for schema in SOURCES.schemas}
PAYMENT = CONTRACTS["payment", 1]


def test_plain_payments_are_all_read() -> None:
    read, alone = read_and_compare([message(payment(number)) for number in range(500)])
    assert alone == []
    assert [columns.contract for columns in read] == [PAYMENT]


@pytest.mark.parametrize("key", READABLE, ids=str)
def test_every_sound_event_of_plain_text_is_read(key: tuple[str, int]) -> None:
    make = payment if key == ("payment", 1) else run_closed
    _, alone = read_and_compare([message(make(number)) for number in range(FEWEST_ROWS)])
    assert alone == []


@settings(max_examples=25, deadline=None)
@given(st.lists(valid_fields(SOURCES, SCHEMAS["payment", 1]), min_size=1, max_size=4))
def test_every_valid_payment_is_read(drawn: list[dict[str, object]]) -> None:
    _, alone = read_and_compare(with_plain([encode("payment", 1, fields) for fields in drawn]))
    assert alone == []


@pytest.mark.parametrize("key", sorted(CONTRACTS), ids=str)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_no_contract_is_read_otherwise(key: tuple[str, int], data: st.DataObject) -> None:
    """Also where the reader has no way for a contract, and where fields break rules."""
    schema = SCHEMAS[key]
    drawn = data.draw(
        st.lists(valid_fields(SOURCES, schema) | encodable_fields(SOURCES, schema), min_size=1, max_size=3)
    )
    values = [encode(*key, fields) for fields in drawn]
    read_and_compare(with_plain(values))
    read_and_compare(values * FEWEST_ROWS)


@pytest.mark.parametrize("key", OTHERS, ids=str)
def test_contracts_with_maps_other_lists_or_no_envelope_are_left_alone(key: tuple[str, int]) -> None:
    example = (REPOSITORY / "contracts" / "examples" / f"{key[0]}.v{key[1]}" / "full.bin").read_bytes()
    assert read_columns([example] * FEWEST_ROWS) == ([], list(range(FEWEST_ROWS)))


REASONS = st.lists(st.sampled_from(["LOW_RISK", "HIGH_SCORE", "NEW_DEVICE", "no code"]), max_size=10)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(REASONS, st.sampled_from([0, 0, 0, 1])), min_size=1, max_size=12))
def test_lists_are_read_as_one_by_one(drawn: list[tuple[list[str], int]]) -> None:
    """Lists of up to eight sound texts and empty ones by columns, all others one by one."""
    attribution = {"feature": "amount", "value": 1, "contribution_ppm": 2}
    values = [
        message(decision(number, reason_codes=codes, attributions=[attribution] * attributions))
        for number, (codes, attributions) in enumerate(drawn * FEWEST_ROWS)
    ]
    _, alone = read_and_compare(values)
    assert alone == [
        row
        for row, (codes, attributions) in enumerate(drawn * FEWEST_ROWS)
        if "no code" in codes or len(codes) > 8 or attributions
    ]


@settings(max_examples=60, deadline=None)
@given(place=st.integers(5, 700), octet=st.integers(0, 255))
def test_a_decision_with_a_wrong_byte_is_read_as_one_by_one(place: int, octet: int) -> None:
    values = [message(decision(number)) for number in range(FEWEST_ROWS + 1)]
    broken = bytearray(values[7])
    broken[place % len(broken)] = octet
    read_and_compare([*values[:7], bytes(broken), *values[8:]])


@pytest.mark.parametrize(
    "seed", [None, 0, -1, 63, -64, 64, 2**54, 2**55 - 1, 2**55, 2**62, 2**63 - 1, -(2**63)]
)
def test_numbers_of_any_length_are_read(seed: int | None) -> None:
    times = [0, 63, 64, 8_191, 8_192, 2**27, 2**48, 2**55 - 1, 2**55, 253_402_300_799_999_999]
    values = [
        message(payment(number, seed=seed, ts_utc=times[number % len(times)]))
        for number in range(FEWEST_ROWS)
    ]
    _, alone = read_and_compare(values)
    assert alone == []


@pytest.mark.parametrize("length", [1, 7, 8, 9, 62, 63, 64, 65, 127, 128])
def test_texts_of_any_length_are_read(length: int) -> None:
    changes = {"event_id": "e" * length, "run_id": "r" * length, "customer_id": "c" * length}
    values = [message(payment(number, **changes)) for number in range(FEWEST_ROWS)]
    changed = with_plain([message(payment(3, account_id="a" * length, device_id="d" * length))])
    for batch in (values, changed):
        assert read_and_compare(batch)[1] == []


@pytest.mark.parametrize(
    "name", ["producer", "customer_id", "currency", "device_id", "ip_address", "traceparent"]
)
def test_a_column_may_be_of_one_text_of_few_or_of_many(name: str) -> None:
    texts = {
        "currency": ["EUR", "USD", "GBP", "CHF"],
        "ip_address": ["10.0.0.1", "::1", "fe80::1", "10.0.0.100"],
        "traceparent": [f"00-{digit * 32}-{digit * 16}-01" for digit in "1234"],
    }.get(name, ["a", "bb", "bbb", "z-1"])
    for count in (1, 2, 4):
        values = [message(payment(row, **{name: texts[row % count]})) for row in range(FEWEST_ROWS)]
        assert read_and_compare(values)[1] == []


def test_a_column_that_seems_to_be_of_one_text() -> None:
    """The text of the first, the middle and the last row begins the texts between them."""
    for others in ("ab", "ab-c", "b", "a" * 100, ""):
        producers = ["a", *[others] * (FEWEST_ROWS // 2 - 1), "a", *[others] * (FEWEST_ROWS // 2 - 1), "a"]
        values = [message(payment(row, producer=producer)) for row, producer in enumerate(producers)]
        (columns,), alone = read_and_compare(values)
        assert len(alone) == (producers.count("") if others == "" else 0)
        assert len(columns.rows) + len(alone) == len(values)


@pytest.mark.parametrize(
    "broken",
    [{"producer": "a b"}, {"currency": "eur"}, {"customer_id": ""}, {"channel": "fax"}, {"amount_minor": -1}],
    ids=str,
)
def test_a_batch_in_which_all_break_a_rule_gives_nothing(broken: dict[str, object]) -> None:
    values = [message(payment(number, **broken)) for number in range(FEWEST_ROWS)]
    assert read_columns(values) == ([], list(range(FEWEST_ROWS)))


def test_contracts_in_one_batch_are_told_apart() -> None:
    payments = [message(payment(number)) for number in range(FEWEST_ROWS)]
    closings = [message(run_closed(number)) for number in range(FEWEST_ROWS)]
    other = (REPOSITORY / "contracts" / "examples" / "receipt.v1" / "full.bin").read_bytes()
    values = [
        value for three in zip(payments, closings, [other] * FEWEST_ROWS, strict=True) for value in three
    ]
    read, alone = read_and_compare(values)
    assert {columns.contract.event_type: columns.rows for columns in read} == {
        "payment": list(range(0, len(values), 3)),
        "run_closed": list(range(1, len(values), 3)),
    }
    assert alone == list(range(2, len(values), 3))


def test_too_few_rows_of_a_contract_are_left_alone() -> None:
    assert read_columns(PLAIN[1:]) == ([], list(range(FEWEST_ROWS - 1)))
    assert read_columns([]) == ([], [])
    few = [message(run_closed(number)) for number in range(FEWEST_ROWS - 1)]
    _, alone = read_and_compare([*few, *PLAIN])
    assert alone == list(range(FEWEST_ROWS - 1))


def test_a_path_that_is_no_text_or_no_number_is_an_error() -> None:
    (columns,), _ = read_columns(PLAIN)
    for path in ("ts_utc", "payload", "customer_id", "payload.nothing"):
        with pytest.raises(KeyError):
            columns.texts(path)
    for path in ("event_id", "payload", "amount_minor"):
        with pytest.raises(KeyError):
            columns.numbers(path)
