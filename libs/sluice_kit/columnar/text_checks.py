"""Check texts against the rules of their field, and that JSON writes them as they stand.

Most rules say which characters may stand where. Those are checked as the texts are read; a text is looked at
by itself only when that fails, or its rules say more.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice_contracts.rules import FieldRules
from sluice_kit.columnar.row_kernel import MOST_PLACES
from sluice_kit.columnar.row_reader import Characters

_PLAIN: Final = frozenset(map(chr, range(0x20, 0x7F))) - {'"', "\\"}
_PLAIN_TEXT: Final = re.compile(r"[ !#-\[\]-~]*").fullmatch
_ANY_TEXT: Final = r"[\s\S]*"
_REPEATED_SET: Final = re.compile(
    r"(?:\[(?P<set>[A-Za-z0-9_.:, -]+)\]|(?P<one>[A-Za-z0-9_:-]))(?:\{(?P<low>\d+)(?:,(?P<high>\d+))?\})?"
)
_UNLIMITED: Final = 2**31


@dataclass(frozen=True, slots=True)
class _Repeated:
    """From `low` to `high` of some characters."""

    characters: frozenset[str]
    low: int
    high: int


class TextCheck:
    """The rules of a field. `longest` is the greatest length that they allow."""

    def __init__(self, rules: FieldRules) -> None:
        self._rules = rules
        self._pattern = re.compile(rules.pattern or _ANY_TEXT).fullmatch
        parts = _parts(rules.pattern)
        limits = [
            _UNLIMITED if rules.max_length is None else rules.max_length,
            max(map(len, rules.values), default=_UNLIMITED),
            _UNLIMITED if parts is None else sum(part.high for part in parts),
        ]
        self.longest = min(limits)
        shortest = max(rules.min_length, sum(part.low for part in parts or ()))
        self.characters = (
            None if parts is None or rules.values else _characters(parts, shortest, self.longest)
        )
        """What the rules say place by place; None where they are more than that."""

    def accepts(self, text: str) -> bool:
        """Whether the rules allow the text and JSON writes it as it stands."""
        rules = self._rules
        return (
            self._pattern(text) is not None
            and _PLAIN_TEXT(text) is not None
            and rules.min_length <= len(text) <= self.longest
            and (not rules.values or text in rules.values)
        )


def _parts(pattern: str | None) -> list[_Repeated] | None:
    """The pattern as sets of characters with their counts, None when it is more than that."""
    if pattern is None:
        return [_Repeated(_PLAIN, 0, _UNLIMITED)]
    parts, at = [], 0
    while at < len(pattern):
        found = _REPEATED_SET.match(pattern, at)
        if found is None:
            return None
        member = re.compile(f"[{found['set'] or found['one']}]")
        characters = frozenset(filter(member.match, map(chr, range(128))))
        low = int(found["low"] or 1)
        parts.append(_Repeated(characters, low, int(found["high"] or low)))
        at = found.end()
    return parts


def _characters(parts: Sequence[_Repeated], shortest: int, longest: int) -> Characters | None:
    """The sets of the places, where every part but the last has its length."""
    *fixed, last = parts
    if not all(part.characters <= _PLAIN for part in parts) or any(part.low != part.high for part in fixed):
        return None
    heads = tuple(part.characters for part in fixed for _ in range(part.low))
    return Characters(shortest, longest, heads, last.characters) if len(heads) <= MOST_PLACES else None
