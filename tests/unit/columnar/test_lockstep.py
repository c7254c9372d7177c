"""Fields read in lockstep are what `sluice_contracts.wire` reads one by one, or faults."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts.wire import MalformedError, long_at
from sluice_kit.columnar.joined_values import JoinedValues
from sluice_kit.columnar.lockstep import LockstepReader, NumberColumn, TextColumn

LONGEST = b"\xfe\x7f" + b"x" * 8_191


def reader_of(rows: Sequence[bytes]) -> tuple[LockstepReader, JoinedValues]:
    values = JoinedValues(rows)
    return LockstepReader(values, values.starts, values.ends), values


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
    reader, _ = reader_of(rows)
    column = reader.number(nullable=False)
    assert column.nulls is None
    found = [
        int(value) if whole else None for value, whole in zip(column.values, reader.whole(), strict=True)
    ]
    assert found == [long_or_none(row) for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.binary(max_size=200), min_size=1, max_size=6), st.binary(max_size=3))
def test_nullable_texts_stand_where_they_were_written(texts: list[bytes | None], behind: bytes) -> None:
    rows = []
    for text in texts:
        length = b"" if text is None else len(text) << 1
        if isinstance(length, int):
            length = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
        rows.append((b"\x00" if text is None else b"\x02" + length + text) + behind)
    reader, values = reader_of(rows)
    column = reader.text(nullable=True)
    nulls = [False] * len(rows) if column.nulls is None else column.nulls.tolist()
    found = [
        None if null else values.octets[start:end]
        for null, start, end in zip(nulls, column.starts, column.ends, strict=True)
    ]
    assert found == texts
    assert (column.nulls is None) == (None not in texts)
    assert (values.ends - reader.at == len(behind)).all()


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
    ],
    ids=lambda value: value[:4].hex() if isinstance(value, bytes) else str(value),
)
def test_lengths_of_texts(row: bytes, sound: bool) -> None:
    for rows in ([row], [row, row], [b"\x02b", row, b"\x04cd"], [LONGEST, row, LONGEST]):
        reader, _ = reader_of(rows)
        reader.text(nullable=False)
        assert reader.whole().tolist() == [sound if other is row else True for other in rows]


@pytest.mark.parametrize(
    ("branch", "sound"), [(0, False), (1, False), (2, True), (4, False), (0x80, False), (0xFF, False)]
)
def test_branches_of_a_union(branch: int, sound: bool) -> None:
    """Null is fine as a branch, but then the text behind it is too much."""
    reader, _ = reader_of([b"\x00", bytes([branch]) + b"\x02a", b"\x02\x02b"])
    reader.text(nullable=True)
    assert reader.whole().tolist() == [True, sound, True]


def test_a_constant_text_is_the_same_in_all_rows() -> None:
    reader, values = reader_of(
        [b"\x0epayment", b"\x0epaymenu", b"\x0cpaymen", b"\x10payments", b"\x0epayment!"]
    )
    column = reader.constant_text("payment")
    assert reader.whole().tolist() == [True, False, False, False, False]
    assert values.octets[column.starts[0] : column.ends[0]] == b"payment"


def test_rows_that_ran_away_leave_the_others_alone() -> None:
    """A row reads far behind the end of everything, the others go on in step."""
    rows = [b"\x02a\x02b\x02", b"\xfe\x7f", b"\x02c\x02d\x04"]
    reader, values = reader_of(rows)
    reader.text(nullable=False)
    second = reader.text(nullable=False)
    number = reader.number(nullable=False)
    assert reader.whole().tolist() == [True, False, True]
    assert values.text[second.starts[2] : second.ends[2]] == "d"
    assert number.values[[0, 2]].tolist() == [1, 2]


def test_some_rows_of_a_column() -> None:
    rows = np.array([0, 2])
    nulls = np.array([False, True, False])
    texts = TextColumn(np.array([1, 0, 5]), np.array([2, 0, 7]), nulls).take(rows)
    assert (texts.starts.tolist(), texts.ends.tolist(), texts.nulls) == ([1, 5], [2, 7], None)
    numbers = NumberColumn(np.array([7, 0, 9]), nulls).take(np.array([1, 2]))
    assert numbers.values.tolist() == [0, 9]
    assert numbers.nulls is not None
    assert numbers.nulls.tolist() == [True, False]
