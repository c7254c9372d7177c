"""Bytes that are not a sound event never pass, and take none of the sound ones beside them along."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import CONTRACTS
from sluice_kit.columnar import read_columns
from sluice_kit.columnar.reader import FEWEST_ROWS
from tests.unit.columnar.events import (
    PLAIN,
    field_kinds,
    message,
    payment,
    read_and_compare,
    run_closed,
    with_plain,
)

VALUE = message(payment(5))
FULL = message(
    payment(
        6,
        seed=-(2**63),
        ts_utc=2**57,
        parent_event_id="p" * 70,
        device_id="d",
        ip_address="::1",
        channel="pos",
    )
)
"""Nothing is null, a number takes ten bytes and a text's length two."""
HUGE = [
    b"\xff" * 9 + b"\x01",
    b"\xfe" + b"\xff" * 8 + b"\x01",
    b"\xff" * 10,
    b"\x80" * 12,
    b"\xfe\xff\xff\x0f",
]


def plain_rows_are_read(values: Sequence[bytes | None]) -> None:
    """Read the values among plain payments: those are all read, whatever stands between them."""
    mixed = with_plain(values)
    _, alone = read_and_compare(mixed)
    assert set(alone) <= set(range(1, 2 * len(values), 2))


@pytest.mark.parametrize("value", [VALUE, FULL], ids=["usual", "full"])
def test_every_byte_changed(value: bytes) -> None:
    octets = {0, 1, 2, 3, 4, 0x22, 0x5C, 0x7F, 0x80, 0xFE, 0xFF}
    plain_rows_are_read(
        [
            value[:place] + bytes([octet]) + value[place + 1 :]
            for place, found in enumerate(value)
            for octet in octets | {found ^ 1, found ^ 0x80, found - 2 & 0xFF}
        ]
    )


def test_every_cut_and_every_gap() -> None:
    cuts = [VALUE[:end] for end in range(len(VALUE))]
    gaps = [VALUE[:place] + VALUE[place + 1 :] for place in range(len(VALUE))]
    plain_rows_are_read([*cuts, *gaps, VALUE + b"\x00", VALUE + VALUE, VALUE + PLAIN[0][5:]])


@pytest.mark.parametrize("octets", HUGE, ids=bytes.hex)
def test_a_huge_number_anywhere(octets: bytes) -> None:
    inserted = [VALUE[:place] + octets + VALUE[place:] for place in range(len(VALUE) + 1)]
    written_over = [VALUE[:place] + octets + VALUE[place + len(octets) :] for place in range(len(VALUE) + 1)]
    plain_rows_are_read([*inserted, *written_over])


@pytest.mark.parametrize("octets", HUGE, ids=bytes.hex)
def test_a_length_that_leaves_the_buffer(octets: bytes) -> None:
    """The last value of a batch, cut behind a length that points far beyond everything."""
    for place in range(5, len(VALUE)):
        _, alone = read_columns([*PLAIN, VALUE[:place] + octets])
        assert alone == [len(PLAIN)]


def test_a_value_that_goes_on_in_the_next_one() -> None:
    """Cut anywhere, the bytes that are missing stand at the start of the next value, or behind its frame."""
    for place in range(1, len(VALUE)):
        _, alone = read_and_compare([*PLAIN, VALUE[:place], VALUE[place:], *PLAIN])
        assert {FEWEST_ROWS, FEWEST_ROWS + 1} == set(alone)


def test_what_is_no_event_of_ours() -> None:
    odd: list[bytes | None] = [
        None,
        b"",
        b"\x00",
        VALUE[:4],
        VALUE[:5],
        b"\x01" + VALUE[1:],
        b"\x00\xff\xff\xff\xff" + VALUE[5:],
        b"\x00" * 64,
        b"\xff" * 64,
        message(run_closed(1)),
        message(run_closed(1))[:5] + VALUE[5:],
        VALUE[:5] + message(run_closed(1))[5:],
    ]
    _, alone = read_and_compare(with_plain(odd))
    assert alone == list(range(1, 2 * len(odd), 2))
    _, alone = read_and_compare(odd * FEWEST_ROWS)
    assert {row % len(odd) for row in range(len(odd) * FEWEST_ROWS)} - {row % len(odd) for row in alone} == {
        9
    }


PLAINLY_BROKEN = ["", " ", "x" * 129, "a b", "-a", "EU", "EURO", "eur", "posx", "ecomecom", "x" * 9_000]
ESCAPED = [
    'say "x"',
    "back\\slash",
    "tab\t",
    "new\nline",
    "\x00",
    "EUR\x00",
    "\x7f",
    "\u00e9",
    "e\u0301",
    "\u6f22",
]
NUMBERS = [-1, 0, 2**31, 2**62, 2**63 - 1, -(2**63), 10**15, 10**15 + 1, 253_402_300_800_000_000]


def test_values_that_break_a_rule_of_any_field() -> None:
    for make in (payment, run_closed):
        fields = make(6)
        contract = CONTRACTS[fields["event_type"], 1]
        values = []
        for path, kind in field_kinds(contract).items():
            if path in {"event_type", "schema_version"}:
                continue  # the encoder refuses to write another one
            for value in (*PLAINLY_BROKEN, *ESCAPED) if kind == "string" else NUMBERS:
                changed = make(6)
                record = changed["payload"] if path.startswith("payload.") else changed
                record[path.removeprefix("payload.")] = value
                values.append(message(changed))
        plain_rows_are_read(values)
        read_and_compare(values * 2 + [message(make(number)) for number in range(FEWEST_ROWS)])


def test_a_text_that_json_escapes_is_left_alone_also_where_the_rules_allow_it() -> None:
    reasons = [
        "all out",
        'he said "stop"',
        "back\\slash",
        "line\nbreak",
        "caf\u00e9",
        "x" * 1_024,
        "x" * 1_025,
    ]
    plain = [message(run_closed(number)) for number in range(FEWEST_ROWS)]
    _, alone = read_and_compare(plain + [message(run_closed(1, reason=reason)) for reason in reasons])
    assert [row - FEWEST_ROWS for row in alone] == [1, 2, 3, 4, 6]


def test_a_very_long_value_is_left_alone() -> None:
    bomb = VALUE[:5] + b"\xfe\xff\x7f" + b"x" * 1_100_000
    _, alone = read_and_compare(with_plain([bomb]))
    assert alone == [1]


def flipped(value: bytes, place: int, octet: int) -> bytes:
    place %= len(value)
    return value[:place] + bytes([octet]) + value[place + 1 :]


PLACES = st.integers(0, 2**12)
MUTATIONS: st.SearchStrategy[Callable[[bytes, bytes], bytes]] = st.one_of(
    st.builds(
        lambda place, octet: lambda value, _: flipped(value, place, octet), PLACES, st.integers(0, 255)
    ),
    st.builds(lambda place: lambda value, _: value[: place % (len(value) + 1)], PLACES),
    st.builds(lambda tail: lambda value, _: value + tail, st.binary(min_size=1, max_size=20)),
    st.builds(
        lambda place, other: (
            lambda value, second: value[: place % len(value)] + second[other % len(second) :]
        ),
        PLACES,
        PLACES,
    ),
    st.builds(
        lambda place, octets: (
            lambda value, _: value[: place % len(value)] + octets + value[place % len(value) :]
        ),
        PLACES,
        st.sampled_from(HUGE) | st.binary(max_size=12),
    ),
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PLAIN), st.sampled_from(PLAIN), st.lists(MUTATIONS, min_size=1, max_size=3)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_mutated_values(
    drawn: list[tuple[bytes, bytes, list[Callable[[bytes, bytes], bytes]]]],
) -> None:
    values: list[bytes | None] = []
    for first, second, mutations in drawn:
        value = first
        for mutate in mutations:
            value = mutate(value, second) or b"\x00"
        values.append(value)
    plain_rows_are_read(values)
