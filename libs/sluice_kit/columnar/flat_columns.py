"""Read values of one contract by columns without checking them: for topics whose writer checked them already.

Facts on the bus and projections hold what their contracts say, so a stage behind the gate needs neither rules
nor payload hashes. Contracts need no envelope here, only fields that are texts and numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import repeat
from typing import Any, Final

import numpy as np

from sluice_contracts import Contract
from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.errors import UnsupportedFieldError
from sluice_kit.columnar.joined_values import FRAME, JoinedValues, Mask, Positions
from sluice_kit.columnar.row_kernel import NULLABLE, NUMBER, TEXT
from sluice_kit.columnar.row_reader import RowField, RowLayout, RowsRead
from sluice_kit.columnar.schema_plan import ColumnStep, plan_row

FEWEST_ROWS: Final = 8
"""With fewer values reading one by one is quicker."""
_TWO_BYTE_LENGTH: Final = 64
_SCALARS: Final = {"string": TEXT, "int": NUMBER, "long": NUMBER}


class FlatColumns:
    """The values at the ascending positions `rows`; all lists run along them and must not be changed."""

    __slots__ = ("_octets", "_values", "rows")

    def __init__(self, rows: list[int], values: ColumnValues, octets: bytes) -> None:
        self.rows = rows
        self._values = values
        self._octets = octets

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, path: str) -> list[str | None]:
        """The texts of a field, None for a null; raises KeyError for a path that is no text."""
        return self._values.texts(path)

    def texts_at(self, path: str, places: Sequence[int]) -> list[str]:
        """The texts of a field at some places along `rows`, '' for a null; raises as `texts` does."""
        return self._values.texts_at(path, places)

    def numbers(self, path: str) -> list[int | None]:
        """The numbers of a field, None for a null; raises KeyError for a path that is no number."""
        return self._values.numbers(path)

    def matrix(self, path: str) -> Positions:
        """Lists of numbers of one length (rows, length); raises KeyError for a path that is none such."""
        return self._values.matrix(path)

    def lists(self, path: str) -> list[str]:
        """Other lists as they are encoded, a character for each byte; raises KeyError for no list."""
        return self._values.list_bytes(path)

    def filled(self, path: str) -> list[bool]:
        """Which lists of a field have items; raises KeyError for no list."""
        return self._values.filled(path)

    def value(self, path: str, place: int) -> str | int | None:
        """One value of a field; `place` counts along `rows`. Raises KeyError for an unknown path."""
        return self._values.value(path, place)

    def encoded(self, first: str, last: str, *, behind: bool = False) -> list[bytes]:
        """Of each row the bytes of all fields from the text field `first` to the text field `last`.

        With `behind` those from the field after `first`. Neither may be null. Raises KeyError for a path that
        is no text.
        """
        column, octets = self._values.text_column(first), self._octets
        if behind:
            starts = column.ends
        else:
            starts = column.starts - np.where(column.ends - column.starts < _TWO_BYTE_LENGTH, 1, 2)
        ends = self._values.text_column(last).ends
        return [octets[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def alike(self, first: str, last: str) -> bool:
        """Whether all rows hold the same bytes from the text field `first` to the text field `last`.

        Raises KeyError for a path that is no text. False says nothing: it may be what stands before them
        that differs.
        """
        starts = (self._values.text_column(first).starts - 2).tolist()  # with the length of the first one
        end = int(self._values.text_column(last).ends[0])
        return all(map(self._octets.startswith, repeat(self._octets[starts[0] : end]), starts))


Read = tuple[FlatColumns | None, list[int]]
_NOTHING_READ: Final[tuple[Sequence[bytes | None], Read]] = ([], (None, []))
_last_read: dict[int, tuple[Sequence[bytes | None], Read]] = {}
"""By contract what was read last of it: values, and what came of them."""


def read_flat(contract: Contract, values: Sequence[bytes | None]) -> Read:
    """Read values of `contract` by columns; the second result are the positions of those that were not read.

    Those are to be decoded one by one: they are of another contract, broken, not plain ASCII where a text
    stands, or too few for columns to pay. Neither result may be changed: members of a chain, which read the
    same records one after the other, are given the same.

    Raises:
        UnsupportedFieldError: the contract has a field that is neither text nor number.
    """
    last_values, last_read = _last_read.get(contract.schema_id, _NOTHING_READ)
    if last_values == values:
        return last_read
    read = read_laid_out(contract, values, _layout(contract), plain=True)
    _last_read[contract.schema_id] = list(values), read
    return read


def read_laid_out(
    contract: Contract,
    values: Sequence[bytes | None],
    layout: RowLayout,
    *,
    to_the_end: bool = True,
    plain: bool = False,
) -> Read:
    """Read values of `contract` as `layout` says; the second result are the positions of those not read.

    `to_the_end`: a value with anything behind the last field is not read; `plain`: nor one with a text that
    is not ASCII.
    """
    joined = _joined_of(contract, values)
    if joined is None:
        return None, list(range(len(values)))
    read = layout.read(joined, joined.starts + FRAME, joined.ends, to_the_end=to_the_end)
    return _told_apart(joined, read, read.sound & read.plain if plain else read.sound)


def layout_of(
    contract: Contract, schema: Mapping[str, Any], listed: Callable[[ColumnStep], RowField | None]
) -> RowLayout:
    """The fields of `schema`, which is that of `contract` or its beginning. `listed`: how a list is read.

    Raises:
        UnsupportedFieldError: a field is neither text nor number, and `listed` gives None for it.
    """
    fields = []
    for step in plan_row(schema, b"", {}, lists=True):
        if isinstance(step, ColumnStep):
            field = _scalar_field(step) or listed(step)
            if field is None:
                raise UnsupportedFieldError(f"{contract}: {step.path} cannot be read by columns")
            fields.append(field)
    return RowLayout(fields)


def _joined_of(contract: Contract, values: Sequence[bytes | None]) -> JoinedValues | None:
    """The values as one, when all are of `contract` and enough for columns to pay."""
    if len(values) < FEWEST_ROWS:
        return None
    joined = JoinedValues(values)
    of_contract = map(joined.octets.startswith, repeat(contract.prefix), joined.starts.tolist())
    return joined if all(of_contract) else None


def _told_apart(joined: JoinedValues, columns: RowsRead, sound: Mask) -> Read:
    """The sound rows as columns, None when there is none, and the positions of the others."""
    read = ColumnValues(joined.text, columns, len(sound))
    others = np.flatnonzero(~sound).tolist()
    if not others:
        return FlatColumns(list(range(len(sound))), read, joined.octets), others
    if len(others) == len(sound):
        return None, others
    return FlatColumns(np.flatnonzero(sound).tolist(), read.pick(sound), joined.octets), others


@cache
def _layout(contract: Contract) -> RowLayout:
    return layout_of(contract, contract.schema, lambda _: None)


def _scalar_field(step: ColumnStep) -> RowField | None:
    """How a text or number is read; None where a field is neither."""
    kind = _SCALARS.get(step.kind)
    if kind is None or step.null_branch not in {b"", b"\x00"}:
        return None
    return RowField(step.path, kind | (NULLABLE * step.nullable))
