"""Rows of one contract as columns: what the compiled loop is given, and what it found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from sluice_kit.columnar import row_kernel as kernel
from sluice_kit.columnar.columns import Column, ListColumn, NumberColumn, RowsColumn, TextColumn
from sluice_kit.columnar.joined_values import JoinedValues, Mask, Positions

_LONGS: Final = (-(2**63), 2**63 - 1)


class Characters(NamedTuple):
    """What texts hold: from `low` to `high` characters, each of its place's set; the rest of `rest`."""

    low: int
    high: int
    heads: tuple[frozenset[str], ...]
    rest: frozenset[str]


class RowField(NamedTuple):
    """One field. `kind` is one of `row_kernel`, `limits` are those of a number, ends included."""

    path: str
    kind: int
    limits: tuple[int, int] = _LONGS
    constant: str = ""
    characters: Characters | None = None


class RowLayout:
    """The fields of a row, in their order. `pins`: the paths of two of them, see `RowsRead.pins`."""

    def __init__(self, fields: Sequence[RowField], pins: tuple[str, str] | None = None) -> None:
        self.places = {field.path: number for number, field in enumerate(fields)}
        self.kinds = [field.kind for field in fields]
        self.numbers = [number for number, kind in enumerate(self.kinds) if kind == kernel.NUMBER_ROW]
        count = len(fields)
        self.proven: frozenset[str] = frozenset()
        sets = np.full((count, kernel.MOST_PLACES + 1), kernel.ANYTHING, np.uint8)
        heads = np.zeros(count, np.int64)
        lows, highs = np.empty(count, np.int64), np.empty(count, np.int64)
        bits: dict[frozenset[str], int] = {}
        for number, field in enumerate(fields):
            (lows[number], highs[number]), characters = field.limits, field.characters
            if field.kind == kernel.CONSTANT:
                heads[number] = len(field.constant)
                sets[number, : len(field.constant)] = list(field.constant.encode("ascii"))
            elif field.kind == kernel.NUMBER_ROW:
                heads[number] = self.numbers.index(number)
            elif (
                characters is not None and len({*bits, *characters.heads, characters.rest}) <= kernel.ANYTHING
            ):
                self.proven |= {field.path}
                lows[number], highs[number] = characters.low, characters.high
                heads[number] = len(characters.heads)
                for place, one in enumerate(characters.heads):
                    sets[number, place] = bits.setdefault(one, len(bits))
                sets[number, kernel.MOST_PLACES] = bits.setdefault(characters.rest, len(bits))
        octet_sets = np.full(256, 1 << kernel.ANYTHING, np.uint64)
        for one, bit in bits.items():
            octet_sets[list("".join(one).encode("ascii"))] |= np.uint64(1 << bit)
        marked = np.array([-1, -1] if pins is None else [self.places[path] for path in pins], np.int64)
        self.arrays = kernel.Layout(
            np.array(self.kinds, np.int64), lows, highs, heads, sets, octet_sets, marked
        )

    def read(
        self, values: JoinedValues, starts: Positions, ends: Positions, *, to_the_end: bool = True
    ) -> "RowsRead":
        """Read the rows from `starts` to `ends` (n,), places in `values`.

        Texts of 8 KiB and more count as faults: they belong to rows that are few.
        """
        fields, rows, lists = len(self.kinds), len(starts), len(self.numbers)
        found = kernel.Found(
            np.zeros((fields, rows), np.int64),
            np.zeros((fields, rows), np.int64),
            np.zeros((fields, rows), np.bool_),
            np.zeros((lists, rows, kernel.MOST_OCTETS), np.int64),
            np.full(lists, -1, np.int64),
            np.zeros(fields, np.int64),
            np.full(fields, -1, np.int64),
            np.ones(rows, np.bool_),
            np.empty(rows, np.bool_),
            np.zeros((2, rows), np.int64),
        )
        kernel.read_rows(values.array, starts, ends, self.arrays, found, to_the_end)
        return RowsRead(self, found)


class RowsRead(Mapping[str, Column]):
    """The columns by path. Rows with a fault hold anything."""

    def __init__(self, layout: RowLayout, found: kernel.Found) -> None:
        self._layout = layout
        self._found = found
        self._about: list[int] = found.about.tolist()
        self._made: dict[str, Column] = {}

    def __getitem__(self, path: str) -> Column:
        column = self._made.get(path)
        if column is None:
            column = self._made[path] = self._column(path)
        return column

    def _column(self, path: str) -> Column:
        number = self._layout.places[path]
        kind, found = self._layout.kinds[number], self._found
        if kind == kernel.NUMBER_ROW:
            at = self._layout.numbers.index(number)
            return RowsColumn(found.rows[at, :, : max(0, int(found.widths[at]))])
        nulls = found.nulls[number] if self._about[number] & kernel.SOME_NULL else None
        if kind & ~kernel.NULLABLE == kernel.NUMBER:
            return NumberColumn(found.starts[number], nulls)
        if kind in {kernel.EMPTY_LIST, kernel.TEXT_LIST, kernel.OCTET_LIST}:
            return ListColumn(found.starts[number], found.ends[number])
        return TextColumn(found.starts[number], found.ends[number], nulls)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.places)

    def __len__(self) -> int:
        return len(self._layout.places)

    @property
    def sound(self) -> Mask:
        """The rows that were read without a fault."""
        return ~self._found.faults

    @property
    def plain(self) -> Mask:
        """The rows of whose texts none has an octet beyond ASCII."""
        return self._found.plain

    @property
    def pins(self) -> TextColumn:
        """Where the bytes from the first to the second field of the layout's pins stand."""
        return TextColumn(self._found.marks[0], self._found.marks[1], None)

    def shared_text(self, path: str) -> tuple[int, int] | None:
        """Where a text stands that all rows hold; None where they differ, or some are null."""
        number, found = self._layout.places[path], self._found
        row = found.first.item(number)
        if row < 0 or self._about[number] & (kernel.SOME_NULL | kernel.SOME_DIFFER):
            return None
        return found.starts.item(number, row), found.ends.item(number, row)

    def proven(self, path: str) -> bool:
        """Whether every text of a field is such as its `Characters` say; False without them."""
        number = self._layout.places[path]
        return path in self._layout.proven and not self._about[number] & kernel.SOME_UNPROVEN
