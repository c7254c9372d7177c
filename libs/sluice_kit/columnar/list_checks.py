"""Lists of texts in columns: few different ones, each judged once, by the contract's own check."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import orjson

from sluice_contracts import Contract, Decoded
from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.joined_values import Mask
from sluice_kit.columnar.read_plan import ListField

_REMEMBERED: Final = 1024
_LONGEST: Final = 512
"""Longer lists (encoded, in bytes) are not remembered, so that a flood of them takes no memory."""


class ListChecks:
    """The lists of one contract's events. A list that stood in a sound event is sound wherever it stands."""

    def __init__(self, contract: Contract, fields: Iterable[ListField]) -> None:
        self._contract = contract
        self._known: dict[str, dict[str, str]] = {field.path: {} for field in fields}

    @property
    def any(self) -> bool:
        """Whether the contract has lists."""
        return bool(self._known)

    def sound(self, columns: ColumnValues, values: Sequence[bytes]) -> Mask:
        """The rows whose lists are sound; `columns` learns them as JSON. `values` are the rows' bytes."""
        sound = np.ones(columns.count, np.bool_)
        for path in self._known:
            lists = columns.list_bytes(path)
            known = self._learnt(path, lists, values)
            columns.remember_json(path, [known.get(one, "") for one in lists])
            if not all(map(known.__contains__, lists)):
                sound[[row for row, one in enumerate(lists) if one not in known]] = False
        return sound

    def _learnt(self, path: str, lists: Sequence[str], values: Sequence[bytes]) -> dict[str, str]:
        """JSON by encoded list: what is remembered, and what the events at hand teach."""
        known = self._known[path]
        if all(map(known.__contains__, lists)):
            return known
        known = dict(known)
        for one, value in zip(lists, values, strict=True):
            if one not in known and (found := self._judged(path, value)) is not None:
                known[one] = found
        kept = {one: json for one, json in known.items() if len(one) <= _LONGEST}
        self._known[path] = kept if len(kept) <= _REMEMBERED else {}  # others may read the old one
        return known

    def _judged(self, path: str, value: bytes) -> str | None:
        """The list at `path` of one event as JSON, None when something is wrong with the event."""
        decoded = self._contract.decode(value)
        if not isinstance(decoded, Decoded) or self._contract.check(decoded.fields):
            return None
        found: Any = decoded.fields
        for name in path.split("."):
            found = found[name]
        return orjson.dumps(found).decode()
