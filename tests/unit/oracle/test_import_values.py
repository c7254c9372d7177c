"""Amounts and times in the shapes that files have."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_oracle.importer.mapping import AmountSpec, TimeSpec
from sluice_oracle.importer.values import minor_units, utc_times


@given(
    st.one_of(
        st.decimals(
            allow_nan=False, allow_infinity=False, places=None, min_value=-(10**14), max_value=10**14
        ).map(str),
        st.floats(allow_nan=False, allow_infinity=False, min_value=-1e14, max_value=1e14),
        st.integers(-(10**14), 10**14),
    ),
    st.sampled_from([1, 10, 100, 1000, 10_000]),
)
def test_amounts_are_rounded_half_up_exactly(value: Any, scale: Any) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([value, value])], ["a"])
    minor, wrong = minor_units(AmountSpec(column="a", scale=scale), batch)
    as_decimal = Decimal(batch.column(0).cast(pa.string())[0].as_py())
    expected = int((as_decimal * scale).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    assert minor.to_pylist() == [expected, expected]
    assert not wrong.any()


@pytest.mark.parametrize("value", ["", " ", "NaN", "inf", "1,5", "0x10", "1e400", "12 EUR", "--1"])
def test_what_is_no_amount_is_wrong_or_missing(value: str) -> None:
    minor, wrong = minor_units(AmountSpec(column="a"), pa.RecordBatch.from_arrays([pa.array([value])], ["a"]))
    assert minor.to_pylist() == [None]
    assert wrong.tolist() == [value != ""]


WHEN = datetime(2026, 7, 1, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({}, "2026-07-01T10:00:00"),
        ({}, "2026-07-01 10:00:00Z"),
        ({}, "2026-07-01T12:00:00+02:00"),
        ({"timezone": "Europe/Berlin"}, "2026-07-01T12:00:00"),
        ({"timezone": "Europe/Berlin"}, "2026-07-01T10:00:00Z"),
        ({"format": "%d.%m.%Y %H:%M"}, "01.07.2026 10:00"),
        ({"format": "%d.%m.%Y %H:%M:%S.%f"}, "01.07.2026 10:00:00.000"),
        ({"format": "number", "unit": "s"}, "1782900000"),
        ({"unit": "s"}, 1_782_900_000),
        ({"unit": "ms"}, 1_782_900_000_000),
        ({"unit": "us"}, 1_782_900_000_000_000),
        ({"unit": "ns"}, 1_782_900_000_000_000_999),
        ({"timezone": "America/New_York"}, datetime(2026, 7, 1, 6, 0, 0)),  # noqa: DTZ001 - naive on purpose
        ({"timezone": "America/New_York"}, WHEN),
    ],
)
def test_times_come_in_many_shapes(spec: dict[str, Any], value: Any) -> None:
    times, wrong = utc_times(
        TimeSpec(column="t", **spec), pa.RecordBatch.from_arrays([pa.array([value])], ["t"])
    )
    assert times.to_pylist() == [WHEN]
    assert not wrong.any()


def test_mixed_shapes_in_one_column_are_read_value_by_value() -> None:
    values = pa.array(["2026-07-01T10:00:00", "2026-07-01T12:00:00+02:00", "soon", None])
    times, wrong = utc_times(TimeSpec(column="t"), pa.RecordBatch.from_arrays([values], ["t"]))
    assert times.to_pylist() == [WHEN, WHEN, None, None]
    assert wrong.tolist() == [False, False, True, False]


@pytest.mark.parametrize("value", ["2026-03-29T02:30:00", "2026-10-25T02:30:00"])
@pytest.mark.parametrize("kind", ["text", "timestamp", "mixed"])
def test_a_local_time_that_a_clock_change_skips_or_repeats_is_a_reject(value: str, kind: str) -> None:
    column = pa.array([value]) if kind != "mixed" else pa.array([value, "2026-07-01T10:00:00+00:00"])
    if kind == "timestamp":
        column = column.cast(pa.timestamp("us"))
    spec = TimeSpec(column="t", timezone="Europe/Berlin")
    times, wrong = utc_times(spec, pa.RecordBatch.from_arrays([column], ["t"]))
    assert times[0].as_py() is None
    assert wrong[0]
