"""Fields read by the compiled loop are what `sluice_contracts.wire` reads one by one, or faults."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts.wire import MalformedError, long_at
from sluice_kit.columnar.columns import ListColumn, NumberColumn, RowsColumn, TextColumn
from sluice_kit.columnar.joined_values import JoinedValues
from sluice_kit.columnar.row_kernel import (
    CONSTANT,
    EMPTY_LIST,
    MOST_ITEMS,
    MOST_OCTETS,
    NULLABLE,
    NUMBER,
    NUMBER_ROW,
    OCTET_LIST,
    TEXT,
    TEXT_LIST,
)
from sluice_kit.columnar.row_reader import RowField, RowLayout, RowsRead

LONGEST = b"\xfe\x7f" + b"x" * 8_191


def read(rows: Sequence[bytes], *fields: RowField, to_the_end: bool = True) -> tuple[RowsRead, JoinedValues]:
    values = JoinedValues(rows)
    layout = RowLayout(fields)
    return layout.read(values, values.starts, values.ends, to_the_end=to_the_end), values


def text_column(found: RowsRead, path: str) -> TextColumn:
    column = found[path]
    assert isinstance(column, TextColumn)
    return column


def number_column(found: RowsRead, path: str) -> NumberColumn:
    column = found[path]
    assert isinstance(column, NumberColumn)
    return column


def long_or_none(row: bytes) -> int | None:
    try:
        number, end = long_at(row, 0)
    except (IndexError, MalformedError):
        return None
    return number if end == len(row) else None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(min_size=1, max_size=12)
        | st.builds(
            lambda groups, last: bytes(group | 0x80 for group in groups) + bytes([last]),
            st.binary(max_size=10),
            st.integers(0, 255),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_numbers_are_those_of_the_codec(rows: list[bytes]) -> None:
    found, _ = read(rows, RowField("n", NUMBER))
    column = number_column(found, "n")
    assert column.nulls is None
    values = [int(value) if sound else None for value, sound in zip(column.values, found.sound, strict=True)]
    assert values == [long_or_none(row) for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.binary(max_size=200), min_size=1, max_size=6), st.binary(max_size=3))
def test_nullable_texts_stand_where_they_were_written(texts: list[bytes | None], behind: bytes) -> None:
    rows = [b"\x00" + behind if text is None else b"\x02" + written(text) + behind for text in texts]
    found, values = read(rows, RowField("t", TEXT | NULLABLE), to_the_end=False)
    column = text_column(found, "t")
    nulls = [False] * len(rows) if column.nulls is None else column.nulls.tolist()
    stand = [
        None if null else values.octets[start:end]
        for null, start, end in zip(nulls, column.starts, column.ends, strict=True)
    ]
    assert stand == texts
    assert (column.nulls is None) == (None not in texts)
    shared = found.shared_text("t")
    assert (shared is not None) == (None not in texts and len(set(texts)) == 1)
    assert shared is None or values.octets[slice(*shared)] == texts[0]
    assert found.plain.tolist() == [text is None or text.isascii() for text in texts]
    whole, _ = read(rows, RowField("t", TEXT | NULLABLE))
    assert whole.sound.tolist() == [not behind] * len(rows)


def written(text: bytes) -> bytes:
    length = len(text) << 1
    return (bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])) + text


@pytest.mark.parametrize(
    ("row", "sound"),
    [
        (b"\x02a", True),
        (b"\x00", True),
        (LONGEST, True),
        (b"\x82\x00a", True),
        (b"\x80\x80\x01" + b"x" * 8_192, False),
        (b"\x80\x81\x01" + b"x" * 8_256, False),
        (b"\x80\x81" + b"x" * 8_256, False),
        (b"\x01", False),
        (b"\x03a", False),
        (b"\x81\x02" + b"x" * 128, False),
        (b"\x04a", False),
        (b"\x02ab", False),
        (b"\x82", False),
        (b"", False),
    ],
    ids=lambda value: value[:4].hex() if isinstance(value, bytes) else str(value),
)
def test_lengths_of_texts(row: bytes, sound: bool) -> None:
    for rows in ([row], [row, row], [b"\x02b", row, b"\x04cd"], [LONGEST, row, LONGEST]):
        found, _ = read(rows, RowField("t", TEXT))
        assert found.sound.tolist() == [sound if other is row else True for other in rows]


@pytest.mark.parametrize(
    ("branch", "sound"),
    [(0, False), (1, False), (2, True), (3, False), (4, False), (0x80, False), (0xFF, False)],
)
def test_branches_of_a_union(branch: int, sound: bool) -> None:
    """Null is fine as a branch, but then the text behind it is too much."""
    rows = [b"\x00", bytes([branch]) + b"\x02a", b"\x02\x02b"]
    found, _ = read(rows, RowField("t", TEXT | NULLABLE))
    assert found.sound.tolist() == [True, sound, True]


def test_a_constant_text_is_the_same_in_all_rows() -> None:
    rows = [b"\x0epayment", b"\x0epaymenu", b"\x0cpaymen", b"\x10payments", b"\x0epayment!"]
    found, values = read(rows, RowField("c", CONSTANT, constant="payment"))
    column = text_column(found, "c")
    assert found.sound.tolist() == [True, False, False, False, False]
    assert values.octets[column.starts[0] : column.ends[0]] == b"payment"


def test_rows_that_ran_away_leave_the_others_alone() -> None:
    """A row would read far behind the end of everything, the others go on."""
    rows = [b"\x02a\x02b\x02", b"\xfe\x7f", b"\x02c\x02d\x04"]
    found, values = read(rows, RowField("one", TEXT), RowField("two", TEXT), RowField("n", NUMBER))
    assert found.sound.tolist() == [True, False, True]
    assert values.text[text_column(found, "two").starts[2] : text_column(found, "two").ends[2]] == "d"
    assert number_column(found, "n").values[[0, 2]].tolist() == [1, 2]


@pytest.mark.parametrize("to_the_end", [True, False])
def test_a_field_is_not_read_from_the_next_row(to_the_end: bool) -> None:
    rows = [b"\x02a\x04b", b"\x02d\x02e", b"\x02f\x02"]
    found, _ = read(rows, RowField("one", TEXT), RowField("two", TEXT), to_the_end=to_the_end)
    assert found.sound.tolist() == [False, True, False]
    found, _ = read([b"\x80", b"\x02"], RowField("n", NUMBER), to_the_end=to_the_end)
    assert found.sound.tolist() == [False, True]
    found, _ = read([b"\x02", b"\x00"], RowField("list", OCTET_LIST), to_the_end=to_the_end)
    assert found.sound.tolist() == [False, True]


def test_numbers_out_of_their_range_are_faults_and_nulls_are_in_any() -> None:
    rows = [b"\x02" + bytes([number << 1]) for number in (1, 2, 5, 6)] + [b"\x00"]
    found, _ = read(rows, RowField("n", NUMBER | NULLABLE, (2, 5)))
    assert found.sound.tolist() == [False, True, True, False, True]
    nulls = number_column(found, "n").nulls
    assert nulls is not None
    assert nulls.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("kind", "row", "sound"),
    [
        (EMPTY_LIST, b"\x00", True),
        (EMPTY_LIST, b"\x02\x02a\x00", False),
        (TEXT_LIST, b"\x00", True),
        (TEXT_LIST, b"\x04\x02a\x04bc\x00", True),
        (TEXT_LIST, bytes([2 * MOST_ITEMS]) + b"\x02a" * MOST_ITEMS + b"\x00", True),
        (TEXT_LIST, bytes([2 * MOST_ITEMS + 2]) + b"\x02a" * (MOST_ITEMS + 1) + b"\x00", False),
        (TEXT_LIST, b"\x02\x02a\x02\x02b\x00", False),  # two blocks
        (TEXT_LIST, b"\x01\x04\x02a\x00", False),  # a block that says its size
        (TEXT_LIST, b"\x02\x02a", False),
        (TEXT_LIST, b"\x02\x04a\x00", False),
        (OCTET_LIST, b"\x04\x02\x05\x00", True),
        (OCTET_LIST, b"\x02\x80\x01\x00", False),
        (OCTET_LIST, b"\x7e" + b"\x02" * MOST_OCTETS + b"\x00", True),
        (OCTET_LIST, b"\x80\x01" + b"\x02" * 64 + b"\x00", False),
        (OCTET_LIST, b"\x04\x02\x05", False),
    ],
)
def test_lists_of_one_block(kind: int, row: bytes, sound: bool) -> None:
    found, values = read([b"\x00", row], RowField("list", kind))
    assert found.sound.tolist() == [True, sound]
    column = found["list"]
    assert isinstance(column, ListColumn)
    if sound:
        assert values.octets[column.starts[1] : column.ends[1]] == row


def test_rows_of_numbers_are_as_long_as_the_first_sound_one() -> None:
    rows = [b"\x03", b"\x04\x02\x83\x01\x00", b"\x02\x02\x00", b"\x04\x01\x04\x00", b"\x04\x01\x04", b"\x00"]
    found, _ = read(rows, RowField("row", NUMBER_ROW))
    assert found.sound.tolist() == [False, True, False, True, False, False]
    column = found["row"]
    assert isinstance(column, RowsColumn)
    assert column.values[[1, 3]].tolist() == [[1, -66], [-1, 2]]


def test_where_the_bytes_of_two_fields_stand() -> None:
    fields = [RowField("a", TEXT), RowField("b", NUMBER), RowField("c", TEXT | NULLABLE), RowField("d", TEXT)]
    values = JoinedValues([b"\x02a\x06\x00\x00", b"\x04aa\x06\x02\x02c\x00"])
    pins = RowLayout(fields, ("b", "c")).read(values, values.starts, values.ends).pins
    stand = [values.octets[start:end] for start, end in zip(pins.starts, pins.ends, strict=True)]
    assert stand == [b"\x06\x00", b"\x06\x02\x02c"]


def test_some_rows_of_a_column() -> None:
    rows = np.array([0, 2])
    nulls = np.array([False, True, False])
    texts = TextColumn(np.array([1, 0, 5]), np.array([2, 0, 7]), nulls).take(rows)
    assert (texts.starts.tolist(), texts.ends.tolist(), texts.nulls) == ([1, 5], [2, 7], None)
    numbers = NumberColumn(np.array([7, 0, 9]), nulls).take(np.array([1, 2]))
    assert numbers.values.tolist() == [0, 9]
    assert numbers.nulls is not None
    assert numbers.nulls.tolist() == [True, False]
