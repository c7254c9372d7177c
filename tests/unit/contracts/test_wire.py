"""Numbers as Avro writes them, at every place where their size changes."""

import io

import fastavro
import pytest

from sluice_contracts.wire import NUMBER, MalformedError, count_at, int_at, long_at, moment

LONG = fastavro.parse_schema({"type": "long"})
BORDERS = sorted({sign * (2**power + step) for power in range(63) for step in (-1, 0, 1) for sign in (1, -1)})


def written(number: int) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, LONG, number)
    return stream.getvalue()


@pytest.mark.parametrize("spell", [NUMBER.__getitem__, moment], ids=["number", "moment"])
def test_numbers_are_written_as_fastavro_writes_them(spell) -> None:  # noqa: ANN001 - two callables of one shape
    for number in [*BORDERS, 2**63 - 1, -(2**63), 1_790_000_000_123_456]:
        assert spell(number).encode("latin-1") == written(number), number
        assert long_at(b"x" + written(number) + b"y", 1) == (number, 1 + len(written(number)))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**80])
@pytest.mark.parametrize("spell", [NUMBER.__getitem__, moment], ids=["number", "moment"])
def test_numbers_beyond_64_bits_are_refused(spell, number: int) -> None:  # noqa: ANN001
    with pytest.raises(OverflowError, match="64 bits"):
        spell(number)


@pytest.mark.parametrize("value", [1.5, "7", None, b"7"])
def test_only_whole_numbers_are_written(value: object) -> None:
    with pytest.raises(TypeError):
        NUMBER[value]  # type: ignore[index]
    with pytest.raises(TypeError):
        moment(value)  # type: ignore[arg-type]


def test_what_is_too_long_or_too_large_is_malformed() -> None:
    with pytest.raises(MalformedError, match="more than 10 bytes"):
        long_at(b"\x80" * 11 + b"\x00", 0)
    with pytest.raises(MalformedError, match="64 bits"):
        long_at(b"\xff" * 9 + b"\x02", 0)
    with pytest.raises(MalformedError, match="32 bits"):
        int_at(written(2**31), 0)
    assert int_at(written(-(2**31)), 0)[0] == -(2**31)
    with pytest.raises(IndexError):
        long_at(b"\x80\x80", 0)


def test_a_negative_count_has_a_size_behind_it() -> None:
    assert count_at(written(-3) + written(40), 0) == (3, 2)
    with pytest.raises(MalformedError, match="block size"):
        count_at(written(-3) + written(-1), 0)
