"""Columns of short texts of which there are few: currencies, countries, channels.

Eight bytes hold the text and its length; each such number is looked at once and remembered with its text.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from sluice_kit.columnar.columns import TextColumn
from sluice_kit.columnar.joined_values import WINDOW_BYTES, JoinedValues

LONGEST_TEXT: Final = WINDOW_BYTES - 1
_REMEMBERED: Final = 4096
_LENGTH_SHIFT: Final = 8 * LONGEST_TEXT
_LENGTH_BITS: Final = np.uint64(_LENGTH_SHIFT)
_NULL: Final = (LONGEST_TEXT + 1) << _LENGTH_SHIFT
_TOO_LONG: Final = (LONGEST_TEXT + 2) << _LENGTH_SHIFT


class FewValues:
    """Texts of one field that `accepts` has accepted, at most LONGEST_TEXT characters each."""

    def __init__(self, accepts: Callable[[str], bool]) -> None:
        self._accepts = accepts
        self._known: dict[int, str | None] = {_NULL: None}

    def texts(self, column: TextColumn, values: JoinedValues) -> tuple[list[str | None], list[int]]:
        """The texts of the rows, None for a null; and the rows whose text is not accepted, None there too."""
        lengths = column.ends - column.starts
        fitting = np.minimum(lengths, LONGEST_TEXT)
        found = values.short_windows_at(column.starts, fitting)
        found |= fitting.view(np.uint64) << _LENGTH_BITS
        if column.nulls is not None:
            found[column.nulls] = _NULL
        if lengths.max() > LONGEST_TEXT:
            found[lengths > LONGEST_TEXT] = _TOO_LONG
        codes: list[int] = found.tolist()
        known = self._known
        try:
            return [known[code] for code in codes], []
        except KeyError:
            known = self._learn(set(codes))
            return [known.get(code) for code in codes], [
                row for row, code in enumerate(codes) if code not in known
            ]

    def _learn(self, codes: set[int]) -> dict[int, str | None]:
        """What is known, with the accepted ones of `codes`: a new table, others may read the old one."""
        known: dict[int, str | None] = {_NULL: None}
        if len(self._known) <= _REMEMBERED:
            known |= self._known
        for code in codes - known.keys():
            if code < _NULL:
                text = code.to_bytes(WINDOW_BYTES, "little")[: code >> _LENGTH_SHIFT].decode("latin-1")
                if self._accepts(text):
                    known[code] = text
        self._known = known
        return known
