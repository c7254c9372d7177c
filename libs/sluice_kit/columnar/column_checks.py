"""Find the rows whose texts break a rule of their field, in as few steps as the columns allow."""

from collections.abc import Iterable
from typing import cast

import numpy as np

from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.few_values import LONGEST_TEXT, FewValues
from sluice_kit.columnar.joined_values import JoinedValues, Mask
from sluice_kit.columnar.lockstep import TextColumn
from sluice_kit.columnar.read_plan import TextField
from sluice_kit.columnar.text_checks import TextCheck


class TextColumnChecks:
    """The checks of some fields. A column of one text is looked at once; one of few short texts once a text.

    All other columns that are under the same rules are proven together.
    """

    def __init__(self, fields: Iterable[TextField]) -> None:
        self._fields = [field for field in fields if field.constant is None]
        self._few = {
            field.path: FewValues(field.check.accepts)
            for field in self._fields
            if field.check.longest <= LONGEST_TEXT
        }

    def sound(self, columns: ColumnValues, values: JoinedValues) -> Mask:
        """The rows all of whose texts are accepted. `columns` learns constants and texts on the way."""
        sound = np.ones(columns.count, np.bool_)
        together: dict[TextCheck, list[str]] = {}
        for field in self._fields:
            column = columns.text_column(field.path)
            constant = _constant(column, values)
            if constant is not None:
                columns.constants[field.path] = constant
                if not field.check.accepts(constant):
                    return np.zeros(columns.count, np.bool_)
            elif field.path in self._few:
                texts, refused = self._few[field.path].texts(column, values)
                columns.remember_texts(field.path, texts)
                sound[refused] = False
            else:
                together.setdefault(field.check, []).append(field.path)
        for check, paths in together.items():
            if not _proven(check, paths, columns, values):
                for path in paths:
                    if not _proven(check, [path], columns, values):
                        sound[_refused(check, columns.texts(path))] = False
        return sound


def _constant(column: TextColumn, values: JoinedValues) -> str | None:
    """The text that stands in every row, None when there are several, or nulls."""
    if column.nulls is not None:
        return None
    rows = len(column.starts)
    start_of, end_of, text = column.starts.item, column.ends.item, values.text
    first = text[start_of(0) : end_of(0)]
    for row in (rows // 2, rows - 1):
        if text[start_of(row) : end_of(row)] != first:
            return None
    if np.count_nonzero(column.ends - column.starts - len(first)):
        return None
    return first if values.all_hold(first.encode("latin-1"), column.starts) else None


def _proven(check: TextCheck, paths: list[str], columns: ColumnValues, values: JoinedValues) -> bool:
    texts: list[str] = []
    places: list[TextColumn] = []
    for path in paths:
        column = columns.text_column(path)
        if column.nulls is None:
            texts += cast("list[str]", columns.texts(path))
            places.append(column)
        else:
            texts += (text for text in columns.texts(path) if text is not None)
            places.append(column.take(np.flatnonzero(~column.nulls)))
    starts = np.concatenate([place.starts for place in places])
    ends = np.concatenate([place.ends for place in places])
    return check.proves(texts, TextColumn(starts, ends, None), values)


def _refused(check: TextCheck, texts: list[str | None]) -> list[int]:
    return [row for row, text in enumerate(texts) if text is not None and not check.accepts(text)]
