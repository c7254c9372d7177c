"""Check a column of texts against the rules of its field, and that JSON writes them as they stand.

A column is proven sound as a whole where that is cheap: all its characters at once, or its distinct values.
Only when the proof fails are its texts looked at one by one.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sluice_contracts.rules import FieldRules
from sluice_kit.columnar.lockstep import Octets, TextColumn

_PLAIN: Final = frozenset(chr(code) for code in range(0x20, 0x7F)) - {'"', "\\"}
_PLAIN_TEXT: Final = re.compile(r"[ !#-\[\]-~]*")
_REPEATED_SET: Final = re.compile(
    r"(?:\[(?P<set>[A-Za-z0-9_.:, -]+)\]|(?P<one>[A-Za-z0-9_:-]))(?:\{(?P<low>\d+)(?:,(?P<high>\d+))?\})?"
)
_NO_LIMIT: Final = 2**31

_Proof = Callable[[Sequence[str | None], TextColumn, Octets], bool]
"""(texts, where they stand, buffer): true when every text is surely allowed; there is at least one."""


@dataclass(frozen=True, slots=True)
class _Repeated:
    characters: frozenset[str]
    low: int
    high: int


class TextCheck:
    """The rules of one field, and the cheapest proof for them."""

    def __init__(self, rules: FieldRules) -> None:
        self._rules = rules
        self._pattern = re.compile(rules.pattern or r"[\s\S]*")
        self._longest = _NO_LIMIT if rules.max_length is None else rules.max_length
        self._proof = self._cheapest_proof()

    def accepts(self, text: str) -> bool:
        """Whether the rules allow the text and JSON writes it as it stands."""
        return (
            _PLAIN_TEXT.fullmatch(text) is not None
            and self._pattern.fullmatch(text) is not None
            and self._rules.min_length <= len(text) <= self._longest
            and (not self._rules.values or text in self._rules.values)
        )

    def refused(self, texts: Sequence[str | None], column: TextColumn, octets: Octets) -> list[int]:
        """The rows whose text is not accepted, ascending; a null always is. `column` is where texts stand."""
        if column.nulls is not None:
            column = column.take(np.flatnonzero(~column.nulls))
        if not len(column.starts) or self._proof(texts, column, octets):
            return []
        return [row for row, text in enumerate(texts) if text is not None and not self.accepts(text)]

    def _cheapest_proof(self) -> _Proof:
        if self._rules.values:
            return self._distinct()
        if self._rules.pattern is None:
            parts: list[_Repeated] | None = [_Repeated(_PLAIN, 0, _NO_LIMIT)]
        else:
            parts = _parts(self._rules.pattern)
        if parts is None or not all(part.characters <= _PLAIN for part in parts):
            return self._distinct()
        shortest = max(self._rules.min_length, sum(part.low for part in parts))
        longest = min(self._longest, sum(part.high for part in parts))
        if len(parts) == 1:
            return _one_set(parts[0].characters, shortest, longest)
        head, rest = parts[0], parts[1:]
        if len(rest) == 1 and head.low == head.high == 1 and head.characters <= rest[0].characters:
            return _head_and_set(head.characters, rest[0].characters, shortest, longest)
        if shortest == longest and _apart(parts):
            return _layout(parts)
        return self._distinct()

    def _distinct(self) -> _Proof:
        def proof(texts: Sequence[str | None], _column: TextColumn, _octets: Octets) -> bool:
            return all(text is None or self.accepts(text) for text in set(texts))

        return proof


def _parts(pattern: str) -> list[_Repeated] | None:
    """The pattern as sets of characters with their counts, None when it is more than that."""
    parts, at = [], 0
    while at < len(pattern):
        found = _REPEATED_SET.match(pattern, at)
        if found is None:
            return None
        members = re.compile(f"[{found['set'] or found['one']}]")
        characters = frozenset(chr(code) for code in range(128) if members.match(chr(code)))
        low = int(found["low"] or 1)
        parts.append(_Repeated(characters, low, int(found["high"] or low)))
        at = found.end()
    return parts


def _apart(parts: Sequence[_Repeated]) -> bool:
    """Whether any two sets are equal or share nothing, so that a character tells its set."""
    sets = {part.characters for part in parts}
    return sum(map(len, sets)) == len(frozenset[str]().union(*sets))


def _joined(texts: Sequence[str | None]) -> bytes:
    return "".join(filter(None, texts)).encode("latin-1")


def _one_set(characters: frozenset[str], shortest: int, longest: int) -> _Proof:
    allowed = "".join(characters).encode("ascii")

    def proof(texts: Sequence[str | None], column: TextColumn, _octets: Octets) -> bool:
        lengths = column.ends - column.starts
        return bool(
            lengths.min() >= shortest
            and lengths.max() <= longest
            and not _joined(texts).translate(None, allowed)
        )

    return proof


def _head_and_set(head: frozenset[str], rest: frozenset[str], shortest: int, longest: int) -> _Proof:
    all_allowed = _one_set(rest, shortest, longest)
    may_start = np.zeros(256, np.bool_)
    may_start[list("".join(head).encode("ascii"))] = True

    def proof(texts: Sequence[str | None], column: TextColumn, octets: Octets) -> bool:
        return bool(may_start[octets.take(column.starts)].all()) and all_allowed(texts, column, octets)

    return proof


def _layout(parts: Sequence[_Repeated]) -> _Proof:
    """Every place has its set: texts of one length, each character written as the number of its set."""
    kinds = {part.characters: number for number, part in enumerate(parts, 1)}
    table = bytearray(256)
    for characters, kind in kinds.items():
        for octet in "".join(characters).encode("ascii"):
            table[octet] = kind
    numbers = bytes(table)
    layout = b"".join(bytes([kinds[part.characters]]) * part.low for part in parts)

    def proof(texts: Sequence[str | None], column: TextColumn, _octets: Octets) -> bool:
        lengths = column.ends - column.starts
        return bool(
            lengths.min() == lengths.max() == len(layout)
            and _joined(texts).translate(numbers) == layout * len(lengths)
        )

    return proof
