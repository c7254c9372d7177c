"""Columns of a batch: one field of every row, and where it stands in the joined values."""

from dataclasses import dataclass

from sluice_kit.columnar.joined_values import Mask, Positions


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Where the texts stand in the buffer, ends excluded; 0 to 0 for a null. `nulls` is None without any."""

    starts: Positions
    ends: Positions
    nulls: Mask | None

    def take(self, rows: Positions) -> "TextColumn":
        """The same of some rows."""
        return TextColumn(self.starts.take(rows), self.ends.take(rows), _taken(self.nulls, rows))


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """Signed 64-bit numbers, any number for a null. `nulls` is None without any."""

    values: Positions
    nulls: Mask | None

    def take(self, rows: Positions) -> "NumberColumn":
        """The same of some rows."""
        return NumberColumn(self.values.take(rows), _taken(self.nulls, rows))


@dataclass(frozen=True, slots=True)
class ListColumn:
    """Where the encoded lists stand in the buffer, ends excluded."""

    starts: Positions
    ends: Positions

    def take(self, rows: Positions) -> "ListColumn":
        """The same of some rows."""
        return ListColumn(self.starts.take(rows), self.ends.take(rows))


@dataclass(frozen=True, slots=True)
class RowsColumn:
    """Lists of numbers that have the same length in all rows: signed 64-bit (n, length)."""

    values: Positions

    def take(self, rows: Positions) -> "RowsColumn":
        """The same of some rows."""
        return RowsColumn(self.values[rows])


Column = TextColumn | NumberColumn | ListColumn | RowsColumn


def _taken(nulls: Mask | None, rows: Positions) -> Mask | None:
    if nulls is None:
        return None
    left = nulls.take(rows)
    return left if left.any() else None
