"""Encode one column to the pieces that a row is joined from."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice_kit.columnar.errors import ColumnValueError
from sluice_kit.columnar.schema_plan import ColumnStep
from sluice_kit.columnar.varints import length_prefixes, varint, zigzag_varints

_INT32_MIN: Final = -(2**31)
_INT32_MAX: Final = 2**31 - 1


def column_pieces(step: ColumnStep, column: pa.Array) -> list[pa.Array]:
    """Return arrays without nulls whose row-wise concatenation is the Avro encoding of the column.

    A dictionary column is encoded once per dictionary entry.

    Raises:
        ColumnValueError: a null in a required field, a wrong type, a value out of range, an unknown symbol.
    """
    if column.null_count and not step.nullable:
        raise ColumnValueError(step.path, "null in a required field", _first(column.is_null()))
    if pa.types.is_dictionary(column.type):
        return [_dictionary(step, column)]
    if pa.types.is_null(column.type):
        return [pa.repeat(pa.scalar(step.null_branch, pa.binary()), len(column))]
    if step.kind in {"string", "bytes"}:
        return _texts(step, column)
    if step.kind == "enum":
        return [_enum(step, column)]
    if step.kind == "boolean":
        return [_booleans(step, column)]
    return _integers(step, column)


def _first(mask: pa.Array) -> int | None:
    found = pc.index(mask, pa.scalar(value=True)).as_py()
    return None if found is None or found < 0 else int(found)


def _cast(step: ColumnStep, column: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        return column.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ColumnValueError(step.path, f"{column.type} does not fit {step.kind}: {error}") from error


def _texts(step: ColumnStep, column: pa.Array) -> list[pa.Array]:
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    is_text = is_text or pa.types.is_string_view(column.type)
    if step.kind == "string" and not is_text:
        raise ColumnValueError(step.path, f"a column of strings is wanted, this one is {column.type}")
    octets = _cast(step, column, pa.binary())
    prefixes = length_prefixes(pc.binary_length(octets), step.value_branch)
    if octets.null_count:
        prefixes = prefixes.fill_null(step.null_branch)
        octets = octets.fill_null(b"")
    return [prefixes, octets]


def _dictionary(step: ColumnStep, column: pa.DictionaryArray) -> pa.Array:
    optional = ColumnStep(step.path, step.kind, step.symbols, step.null_branch or b"\x00", step.value_branch)
    pieces = column_pieces(optional, column.dictionary)
    entries = pieces[0] if len(pieces) == 1 else pc.binary_join_element_wise(*pieces, b"")
    rows = entries.take(column.indices)
    return rows.fill_null(step.null_branch) if rows.null_count else rows


def _enum(step: ColumnStep, column: pa.Array) -> pa.Array:
    values = _cast(step, column, pa.string())
    indices = pc.index_in(values, value_set=pa.array(step.symbols, pa.string()))
    if indices.null_count != values.null_count:
        row = _first(pc.and_(indices.is_null(), values.is_valid()))
        raise ColumnValueError(
            step.path, f"{values[row].as_py()!r} is not one of {', '.join(step.symbols)}", row
        )
    table = pa.array([step.value_branch + varint(index) for index in range(len(step.symbols))], pa.binary())
    rows = table.take(indices)
    return rows.fill_null(step.null_branch) if rows.null_count else rows


def _booleans(step: ColumnStep, column: pa.Array) -> pa.Array:
    if not pa.types.is_boolean(column.type):
        raise ColumnValueError(step.path, f"a column of booleans is wanted, this one is {column.type}")
    rows = pc.if_else(
        column,
        pa.scalar(step.value_branch + b"\x01", pa.binary()),
        pa.scalar(step.value_branch + b"\x00", pa.binary()),
    )
    return rows.fill_null(step.null_branch) if rows.null_count else rows


def _integers(step: ColumnStep, column: pa.Array) -> list[pa.Array]:
    if pa.types.is_timestamp(column.type):
        column = _cast(step, column, pa.timestamp("us", tz=column.type.tz)).cast(pa.int64())
    elif not pa.types.is_integer(column.type):
        raise ColumnValueError(step.path, f"a column of integers is wanted, this one is {column.type}")
    values = _cast(step, column, pa.int64())
    if step.kind == "int":
        wrong = pc.or_(pc.less(values, _INT32_MIN), pc.greater(values, _INT32_MAX))
        row = _first(wrong.fill_null(fill_value=False))
        if row is not None:
            raise ColumnValueError(step.path, f"{values[row].as_py()} does not fit 32 bits", row)
    filled = values.fill_null(0) if values.null_count else values
    encoded = zigzag_varints(filled.to_numpy().astype(np.int64, copy=False))
    if not step.nullable:
        return [encoded]
    if not values.null_count:
        return [pa.repeat(pa.scalar(step.value_branch, pa.binary()), len(values)), encoded]
    branches = pc.if_else(
        values.is_valid(), pa.scalar(step.value_branch, pa.binary()), pa.scalar(step.null_branch, pa.binary())
    )
    octets = pc.if_else(values.is_valid(), encoded, pa.scalar(b"", pa.binary()))
    return [branches, octets]
