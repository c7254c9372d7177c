"""The values of columns as Python objects, made when they are asked for, and once."""

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from sluice_kit.columnar.columns import Column, ListColumn, NumberColumn, RowsColumn, TextColumn
from sluice_kit.columnar.joined_values import Mask, Positions


class ColumnValues:
    """Columns of `count` rows by dotted path, over one text (latin-1: a character is a byte).

    Lists that are handed out are shared: they must not be changed.
    """

    __slots__ = ("_columns", "_json", "_numbers", "_text", "_texts", "constants", "count")

    def __init__(self, text: str, columns: Mapping[str, Column], count: int) -> None:
        self._text = text
        self._columns = columns
        self._texts: dict[str, list[str | None]] = {}
        self._numbers: dict[str, list[int | None]] = {}
        self._json: dict[str, list[str]] = {}
        self.count = count
        self.constants: dict[str, str] = {}
        """Paths whose text is the same in all rows, as far as that was found out."""

    def text_column(self, path: str) -> TextColumn:
        """Where the texts of a field stand; raises KeyError for a path that is no text of this contract."""
        column = self._columns[path]
        if not isinstance(column, TextColumn):
            raise KeyError(path)
        return column

    def number_column(self, path: str) -> NumberColumn:
        """The numbers of a field; raises KeyError for a path that is no number of this contract."""
        column = self._columns[path]
        if not isinstance(column, NumberColumn):
            raise KeyError(path)
        return column

    def texts(self, path: str) -> list[str | None]:
        """One text a row, None for a null; raises as text_column."""
        texts = self._texts.get(path)
        if texts is None:
            column, text = self.text_column(path), self._text
            if path in self.constants:
                texts = [self.constants[path]] * self.count
            elif column.nulls is None:
                bounds = zip(column.starts.tolist(), column.ends.tolist(), strict=True)
                texts = [text[start:end] for start, end in bounds]
            elif column.nulls.all():
                texts = [None] * self.count
            else:
                bounds = zip(column.starts.tolist(), column.ends.tolist(), strict=True)
                texts = [text[start:end] if end else None for start, end in bounds]
            self._texts[path] = texts
        return texts

    def texts_at(self, path: str, rows: Sequence[int]) -> list[str]:
        """The texts of some rows, '' for a null; raises as text_column."""
        column, text, wanted = self.text_column(path), self._text, np.asarray(rows, np.int64)
        bounds = zip(column.starts.take(wanted).tolist(), column.ends.take(wanted).tolist(), strict=True)
        return [text[start:end] for start, end in bounds]

    def matrix(self, path: str) -> Positions:
        """The lists of numbers of a field (rows, length); raises KeyError for a path that is none."""
        column = self._columns[path]
        if not isinstance(column, RowsColumn):
            raise KeyError(path)
        return column.values

    def list_bytes(self, path: str) -> list[str]:
        """The encoded lists of a field, a character for each byte; raises KeyError for no list."""
        column, text = self._columns[path], self._text
        if not isinstance(column, ListColumn):
            raise KeyError(path)
        return [
            text[start:end] for start, end in zip(column.starts.tolist(), column.ends.tolist(), strict=True)
        ]

    def filled(self, path: str) -> list[bool]:
        """Which lists of a field have items; raises KeyError for no list."""
        column = self._columns[path]
        if not isinstance(column, ListColumn):
            raise KeyError(path)
        filled: list[bool] = (column.ends - column.starts > 1).tolist()
        return filled

    def list_json(self, path: str) -> list[str]:
        """The lists of a field as JSON, from one who has read them; raises KeyError where nobody has."""
        return self._json[path]

    def remember_json(self, path: str, lists: list[str]) -> None:
        """Take the lists of a field, as JSON."""
        self._json[path] = lists

    def remember_texts(self, path: str, texts: list[str | None]) -> None:
        """Take the texts of a field from one who has them already."""
        self._texts[path] = texts

    def numbers(self, path: str) -> list[int | None]:
        """One number a row, None for a null; raises as number_column."""
        numbers = self._numbers.get(path)
        if numbers is None:
            column = self.number_column(path)
            numbers = column.values.tolist()
            if column.nulls is not None:
                absent = column.nulls.tolist()
                numbers = [None if null else value for value, null in zip(numbers, absent, strict=True)]
            self._numbers[path] = numbers
        return numbers

    def value(self, path: str, row: int) -> str | int | None:
        """One value; raises KeyError for an unknown path."""
        column = self._columns[path]
        if isinstance(column, ListColumn | RowsColumn):
            raise KeyError(path)
        if column.nulls is not None and column.nulls[row]:
            return None
        if isinstance(column, NumberColumn):
            return int(column.values[row])
        return self._text[column.starts[row] : column.ends[row]]

    def pick(self, wanted: Mask) -> "ColumnValues":
        """The same of the wanted rows alone."""
        rows = np.flatnonzero(wanted)
        columns = {path: column.take(rows) for path, column in self._columns.items()}
        picked = ColumnValues(self._text, columns, len(rows))
        picked.constants = self.constants
        flags = wanted.tolist()
        picked._texts = {path: list(compress(texts, flags)) for path, texts in self._texts.items()}
        picked._numbers = {path: list(compress(values, flags)) for path, values in self._numbers.items()}
        picked._json = {path: list(compress(lists, flags)) for path, lists in self._json.items()}
        return picked
