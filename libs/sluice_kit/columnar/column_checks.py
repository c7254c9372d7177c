"""Find the rows whose texts break a rule of their field, in as few steps as the columns allow."""

from collections.abc import Iterable

import numpy as np

from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.few_values import LONGEST_TEXT, FewValues
from sluice_kit.columnar.joined_values import JoinedValues, Mask
from sluice_kit.columnar.read_plan import TextField
from sluice_kit.columnar.row_reader import RowsRead


class TextColumnChecks:
    """The checks of some fields. A column of one text is looked at once; one of few short texts once a text.

    Of all others those are looked at whose characters were not proven as they were read.
    """

    def __init__(self, fields: Iterable[TextField]) -> None:
        self._fields = [field for field in fields if field.constant is None]
        self._few = {
            field.path: FewValues(field.check.accepts)
            for field in self._fields
            if field.check.longest <= LONGEST_TEXT
        }

    def sound(self, columns: ColumnValues, read: RowsRead, values: JoinedValues) -> Mask:
        """The rows all of whose texts are accepted. `columns` learns constants and texts on the way."""
        sound = np.ones(columns.count, np.bool_)
        for field in self._fields:
            path, accepts = field.path, field.check.accepts
            shared = read.shared_text(path)
            if shared is not None:
                constant = columns.constants[path] = values.text[slice(*shared)]
                if not read.proven(path) and not accepts(constant):
                    return np.zeros(columns.count, np.bool_)
            elif path in self._few:
                texts, refused = self._few[path].texts(columns.text_column(path), values)
                columns.remember_texts(path, texts)
                sound[refused] = False
            elif not read.proven(path):
                accepted = {text: text is None or accepts(text) for text in set(columns.texts(path))}
                sound &= np.fromiter(map(accepted.__getitem__, columns.texts(path)), np.bool_, columns.count)
        return sound
