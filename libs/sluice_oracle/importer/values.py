"""Single columns, from what users have to what the contract wants.

Each function returns the converted array, null where a value was not understood, and the mask of those rows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluice_oracle.columns import TIMESTAMP
from sluice_oracle.importer.mapping import AmountSpec, TextSpec, TimeSpec

Mask = npt.NDArray[np.bool_]
Converted = tuple[pa.Array, Mask]

_PLAIN_NUMBER = r"^[+-]?[0-9]{1,13}(?:\.[0-9]{0,12})?$"
_TRUE = {"1", "true", "t", "yes", "y"}
_FALSE = {"0", "false", "f", "no", "n"}
_INT64 = range(-(2**63), 2**63)
_UNIT_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def nothing_wrong(count: int) -> Mask:
    """A mask without a row."""
    return np.zeros(count, np.bool_)


def as_text(column: pa.Array) -> Converted:
    """Any column as text; '' is null. Wrong: bytes that are not UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        try:
            text, wrong = column.cast(pa.string()), nothing_wrong(len(column))
        except pa.ArrowInvalid:
            text, wrong = _each(column, pa.string(), lambda value: bytes(value).decode("utf-8"))
    else:
        text, wrong = column.cast(pa.string()), nothing_wrong(len(column))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text), wrong


def mapped_text(spec: TextSpec, columns: pa.RecordBatch) -> Converted:
    """A TextSpec's column, constant or template, through its value map. A null part makes a template null."""
    count = columns.num_rows
    wrong = nothing_wrong(count)
    if spec.constant is not None:
        text = pa.repeat(pa.scalar(spec.constant), count)
    elif spec.column is not None:
        text, wrong = as_text(columns.column(spec.column))
    else:
        pieces: list[Any] = []
        for before, name, width in spec.parts():
            pieces.append(pa.scalar(before))
            if name is not None:
                part, part_wrong = as_text(columns.column(name))
                wrong |= part_wrong
                pieces.append(pc.utf8_lpad(part, width, "0") if width else part)
        text = pc.binary_join_element_wise(*pieces, "")
    if spec.values is None:
        return text, wrong
    position = pc.index_in(text, pa.array(list(spec.values), pa.string()))
    unlisted = pc.and_(position.is_null(), text.is_valid()).to_numpy(zero_copy_only=False)
    return pa.array(list(spec.values.values()), pa.string()).take(position), wrong | unlisted


def minor_units(spec: AmountSpec, columns: pa.RecordBatch) -> Converted:
    """Decimal text or numbers times the scale, rounded half up (away from zero), as int64.

    A floating-point amount counts as its shortest decimal text, so 1.005 x 100 is 101. Wrong: not a finite
    number, or beyond int64.
    """
    text, wrong = as_text(columns.column(spec.column))
    text = pc.utf8_trim_whitespace(text)
    plain = pc.match_substring_regex(text, _PLAIN_NUMBER).fill_null(False)
    digits = len(str(spec.scale)) - 1
    decimals = pc.if_else(plain, text, pa.scalar(None, pa.string())).cast(pa.decimal128(38, 12))
    rounded = pc.round(decimals, ndigits=digits, round_mode="half_towards_infinity")
    scale = pa.scalar(Decimal(spec.scale), pa.decimal128(digits + 1, 0))
    minor = pc.multiply(rounded.cast(pa.decimal128(20, digits)), scale).cast(pa.int64())
    odd = pc.and_(pc.invert(plain), text.is_valid())
    if not pc.any(odd).as_py():
        return minor, wrong
    slow, slow_wrong = _each(text.filter(odd), pa.int64(), lambda value: _decimal_minor(value, spec.scale))
    return pc.replace_with_mask(minor, odd, slow), wrong | _spread(odd, slow_wrong)


def _decimal_minor(value: Any, scale: int) -> int:
    minor = int((Decimal(str(value)) * scale).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    if minor not in _INT64:
        raise ValueError("beyond 64 bits")
    return minor


def utc_times(spec: TimeSpec, columns: pa.RecordBatch) -> Converted:
    """Timestamps, numbers or texts as microseconds UTC; finer fractions are cut off.

    Wrong: not a time in the given format, outside of the representable range, or a local time that a clock
    change skips or repeats.
    """
    column = columns.column(spec.column)
    if pa.types.is_timestamp(column.type):
        return _zoned(column.cast(pa.timestamp("us", column.type.tz), safe=False), spec.timezone)
    if pa.types.is_date(column.type):
        return _zoned(column.cast(pa.timestamp("us")), spec.timezone)
    if pa.types.is_integer(column.type):
        return _from_numbers(column.cast(pa.int64()), spec.unit)
    text, wrong = as_text(column)
    text = pc.utf8_trim_whitespace(text)
    if spec.format == "number":
        numbers, odd = _whole_numbers(text)
        times, far = _from_numbers(numbers, spec.unit)
        return times, wrong | odd | far
    times, odd = _from_text(text, spec)
    return times, wrong | odd


def _whole_numbers(text: pa.Array) -> Converted:
    try:
        return text.cast(pa.int64()), nothing_wrong(len(text))
    except pa.ArrowInvalid:
        return _each(text, pa.int64(), int)


def _from_numbers(numbers: pa.Array, unit: str) -> Converted:
    if unit == "ns":
        floored = np.floor_divide(numbers.fill_null(0).to_numpy(), 1000)
        micros = pc.if_else(numbers.is_valid(), pa.array(floored), pa.scalar(None, pa.int64()))
        return micros.cast(TIMESTAMP), nothing_wrong(len(numbers))
    factor = _UNIT_MICROS[unit]
    limit = 2**62 // factor
    far = pc.or_(pc.greater(numbers, limit), pc.less(numbers, -limit)).fill_null(False)
    near = pc.if_else(far, pa.scalar(None, pa.int64()), numbers)
    return pc.multiply(near, factor).cast(TIMESTAMP), far.to_numpy(zero_copy_only=False)


def _from_text(text: pa.Array, spec: TimeSpec) -> Converted:
    """The fast path takes whole columns of one shape; anything else is read value by value."""
    count = len(text)
    if spec.format != "iso" and not any(mark in spec.format for mark in ("%f", "%z")):
        local = pc.strptime(text, format=spec.format, unit="us", error_is_null=True)
        odd = pc.and_(local.is_null(), text.is_valid()).to_numpy(zero_copy_only=False)
        times, changed = _zoned(local, spec.timezone)
        return times, odd | changed
    if spec.format == "iso":
        for kind in (pa.timestamp("us"), TIMESTAMP):
            try:
                return _zoned(text.cast(kind), spec.timezone)
            except pa.ArrowInvalid:
                continue
    parse = datetime.fromisoformat if spec.format == "iso" else _strptime(spec.format)
    zone = ZoneInfo(spec.timezone)
    micros, odd = _each(text, pa.int64(), lambda value: _micros(parse(value), zone))
    assert len(micros) == count
    return micros.cast(TIMESTAMP), odd


def _strptime(pattern: str) -> Callable[[str], datetime]:
    return lambda value: datetime.strptime(value, pattern)  # noqa: DTZ007 - the zone is given by the caller


def _micros(moment: datetime, zone: ZoneInfo) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
        later = moment.replace(fold=1)
        if moment.utcoffset() != later.utcoffset():
            raise ValueError("the clock change makes this local time ambiguous or skips it")
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _zoned(times: pa.Array, timezone: str) -> Converted:
    """Give naive timestamps their zone; wrong where a clock change leaves two readings."""
    count = len(times)
    if times.type.tz is not None:
        return times.cast(TIMESTAMP), nothing_wrong(count)
    if timezone == "UTC":
        return times.cast(TIMESTAMP), nothing_wrong(count)
    early = pc.assume_timezone(times, timezone, ambiguous="earliest", nonexistent="earliest")
    late = pc.assume_timezone(times, timezone, ambiguous="latest", nonexistent="latest")
    unclear = pc.not_equal(early, late).fill_null(False)
    clear = pc.if_else(unclear, pa.scalar(None, early.type), early)
    return clear.cast(TIMESTAMP), unclear.to_numpy(zero_copy_only=False)


def truth_values(spec: TextSpec, columns: pa.RecordBatch) -> Converted:
    """1/0, true/false, yes/no in any case as booleans."""
    text, wrong = mapped_text(spec, columns)
    lowered = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    true, false = pc.is_in(lowered, pa.array(sorted(_TRUE))), pc.is_in(lowered, pa.array(sorted(_FALSE)))
    known = pc.or_(true, false)
    odd = pc.and_(pc.invert(known), text.is_valid()).to_numpy(zero_copy_only=False)
    return pc.if_else(known, true, pa.scalar(None, pa.bool_())), wrong | odd


def _each(column: pa.Array, kind: pa.DataType, convert: Callable[[Any], Any]) -> Converted:
    """Value by value: what raises becomes null and is wrong."""
    values: list[Any] = []
    wrong = nothing_wrong(len(column))
    for row, value in enumerate(column.to_pylist()):
        try:
            values.append(None if value is None else convert(value))
        except (ValueError, InvalidOperation, OverflowError):
            values.append(None)
            wrong[row] = True
    return pa.array(values, kind), wrong


def _spread(where: pa.Array, mask: Mask) -> Mask:
    """Put a mask of the selected rows back to all rows."""
    full = nothing_wrong(len(where))
    full[where.to_numpy(zero_copy_only=False)] = mask
    return full
