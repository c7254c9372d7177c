"""Read values of one contract by columns without checking them: for topics whose writer checked them already.

Facts on the bus and projections hold what their contracts say, so a stage behind the gate needs neither rules
nor payload hashes. Contracts need no envelope here, only fields that are texts and numbers.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import repeat
from typing import Final

import numpy as np

from sluice_contracts import Contract
from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.errors import UnsupportedFieldError
from sluice_kit.columnar.joined_values import FRAME, JoinedValues, Mask, Positions
from sluice_kit.columnar.lockstep import Column, LockstepReader, NumberColumn, TextColumn
from sluice_kit.columnar.schema_plan import ColumnStep, plan_row

FEWEST_ROWS: Final = 16
"""With fewer values reading one by one is quicker."""
_TWO_BYTE_LENGTH: Final = 64
_FURTHER_BYTES: Final = np.array([1 << 7 * count for count in range(1, 10)], np.uint64)
"""From where on a number takes one more byte than one, two more, and so on."""


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
ReadList = Callable[[LockstepReader, ColumnStep], Column]
"""Reads the next field of all rows, which is a list, as a column."""
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
    read = _read(contract, values)
    _last_read[contract.schema_id] = list(values), read
    return read


def _read(contract: Contract, values: Sequence[bytes | None]) -> Read:
    joined = _joined_of(contract, values)
    if joined is None:
        return None, list(range(len(values)))
    reader, columns = _stepped(joined, _steps(contract), _no_list)
    sound = reader.whole()
    if not (sound.all() and _all_plain(joined, columns, contract.prefix)):
        sound &= _plain(joined, columns)
    return _told_apart(joined, columns, sound)


def read_steps(
    contract: Contract,
    values: Sequence[bytes | None],
    steps: Sequence[ColumnStep],
    listed: ReadList,
    *,
    to_the_end: bool,
) -> Read:
    """Read `steps` of values of `contract` by columns; the second result are the positions of those not read.

    `listed` reads a step that is neither text nor number. `to_the_end`: a value with anything behind the
    last step is not read.
    """
    joined = _joined_of(contract, values)
    if joined is None:
        return None, list(range(len(values)))
    reader, columns = _stepped(joined, steps, listed)
    return _told_apart(joined, columns, reader.whole() if to_the_end else reader.sound())


def _stepped(
    joined: JoinedValues, steps: Sequence[ColumnStep], listed: ReadList
) -> tuple[LockstepReader, dict[str, Column]]:
    reader = LockstepReader(joined, joined.starts + FRAME, joined.ends)
    columns: dict[str, Column] = {}
    for step in steps:
        if step.kind == "string":
            columns[step.path] = reader.text(nullable=step.nullable)
        elif step.kind in {"int", "long"}:
            columns[step.path] = reader.number(nullable=step.nullable)
        else:
            columns[step.path] = listed(reader, step)
    return reader, columns


def _no_list(_reader: LockstepReader, step: ColumnStep) -> Column:
    raise UnsupportedFieldError(step.path)


def _joined_of(contract: Contract, values: Sequence[bytes | None]) -> JoinedValues | None:
    """The values as one, when all are of `contract` and enough for columns to pay."""
    if len(values) < FEWEST_ROWS:
        return None
    joined = JoinedValues(values)
    of_contract = map(joined.octets.startswith, repeat(contract.prefix), joined.starts.tolist())
    return joined if all(of_contract) else None


def _told_apart(joined: JoinedValues, columns: dict[str, Column], sound: Mask) -> Read:
    """The sound rows as columns, None when there is none, and the positions of the others."""
    read = ColumnValues(joined.text, columns, len(sound))
    others = np.flatnonzero(~sound).tolist()
    if not others:
        return FlatColumns(list(range(len(sound))), read, joined.octets), others
    if len(others) == len(sound):
        return None, others
    return FlatColumns(np.flatnonzero(sound).tolist(), read.pick(sound), joined.octets), others


def _all_plain(joined: JoinedValues, columns: dict[str, Column], prefix: bytes) -> bool:
    """Whether all texts are ASCII, from how many bytes of sound rows are not; False says nothing.

    Prefixes, lengths of texts and numbers have so many such bytes at least. If there are no more, texts have
    none. A fifth of the time of looking at each text.
    """
    expected = len(joined.starts) * np.count_nonzero(np.frombuffer(prefix, np.uint8) >> 7)
    for column in columns.values():
        if isinstance(column, TextColumn):
            expected += np.count_nonzero(column.ends - column.starts >= _TWO_BYTE_LENGTH)
        elif isinstance(column, NumberColumn):
            zigzag = (column.values << 1 ^ column.values >> 63).view(np.uint64)
            further = np.searchsorted(_FURTHER_BYTES, zigzag, side="right")
            expected += int((further if column.nulls is None else further[~column.nulls]).sum())
    return bool(np.count_nonzero(np.frombuffer(joined.octets, np.uint8) >> 7) == expected)


def _plain(joined: JoinedValues, columns: dict[str, Column]) -> Mask:
    """The rows whose texts are ASCII."""
    plain: Mask = np.ones(len(joined.starts), np.bool_)
    above = np.frombuffer(joined.octets, np.uint8) >> 7
    if not above.any():
        return plain
    last = len(above)
    before = np.zeros(last + 1, np.int32)
    above.cumsum(out=before[1:], dtype=np.int32)
    for column in columns.values():
        if isinstance(column, TextColumn):
            starts, ends = np.minimum(column.starts, last), np.minimum(column.ends, last)
            plain &= before[starts] == before[ends]
    return plain


@cache
def _steps(contract: Contract) -> tuple[ColumnStep, ...]:
    steps = tuple(step for step in plan_row(contract.schema, b"", {}) if isinstance(step, ColumnStep))
    for step in steps:
        if step.kind not in {"string", "int", "long"} or step.null_branch not in {b"", b"\x00"}:
            raise UnsupportedFieldError(f"{contract}: {step.path} is neither text nor number")
    return steps
