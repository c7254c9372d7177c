"""Check texts against the rules of their field, and that JSON writes them as they stand.

Many texts are proven sound at once where the rules allow it: all their characters by one pass. Only when the
proof fails are they looked at one by one.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sluice_contracts.rules import FieldRules
from sluice_kit.columnar.joined_values import JoinedValues
from sluice_kit.columnar.lockstep import TextColumn

_PLAIN: Final = frozenset(map(chr, range(0x20, 0x7F))) - {'"', "\\"}
_PLAIN_TEXT: Final = re.compile(r"[ !#-\[\]-~]*").fullmatch
_ANY_TEXT: Final = r"[\s\S]*"
_REPEATED_SET: Final = re.compile(
    r"(?:\[(?P<set>[A-Za-z0-9_.:, -]+)\]|(?P<one>[A-Za-z0-9_:-]))(?:\{(?P<low>\d+)(?:,(?P<high>\d+))?\})?"
)
_UNLIMITED: Final = 2**31

_Proof = Callable[[Sequence[str], TextColumn, JoinedValues], bool]
"""(texts, where they stand, the buffer): true when all are surely allowed. There is one text or more."""


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
        self._proof: _Proof = self._one_by_one
        if parts is not None and not rules.values:
            self._proof = _proof_of(parts, shortest, self.longest) or self._proof

    def accepts(self, text: str) -> bool:
        """Whether the rules allow the text and JSON writes it as it stands."""
        rules = self._rules
        return (
            self._pattern(text) is not None
            and _PLAIN_TEXT(text) is not None
            and rules.min_length <= len(text) <= self.longest
            and (not rules.values or text in rules.values)
        )

    def proves(self, texts: Sequence[str], column: TextColumn, values: JoinedValues) -> bool:
        """Whether all `texts` are surely accepted; `column` is where they stand, without nulls."""
        return not texts or self._proof(texts, column, values)

    def _one_by_one(self, texts: Sequence[str], _column: TextColumn, _values: JoinedValues) -> bool:
        return all(map(self.accepts, set(texts)))


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


def _proof_of(parts: Sequence[_Repeated], shortest: int, longest: int) -> _Proof | None:
    """The proof for a pattern of such parts, None where none is known."""
    if not all(part.characters <= _PLAIN for part in parts):
        return None
    sets = {part.characters for part in parts}
    if len(parts) == 1:
        return _one_set(parts[0].characters, shortest, longest)
    head, rest = parts[0], parts[1]
    if len(parts) == 2 and head.low == head.high == 1 and head.characters <= rest.characters:
        return _head_and_set(head.characters, rest.characters, shortest, longest)
    told_apart = sum(map(len, sets)) == len(frozenset[str]().union(*sets))
    if told_apart and shortest == longest == sum(part.high for part in parts):
        return _layout(parts)
    return None


def _one_set(characters: frozenset[str], shortest: int, longest: int) -> _Proof:
    """Every character is from one set, as many as allowed."""
    allowed = _octets(characters)

    def proof(texts: Sequence[str], column: TextColumn, _values: JoinedValues) -> bool:
        lengths = column.ends - column.starts
        if lengths.min() < shortest or lengths.max() > longest:
            return False
        return not "".join(texts).encode("latin-1").translate(None, allowed)

    return proof


def _head_and_set(head: frozenset[str], rest: frozenset[str], shortest: int, longest: int) -> _Proof:
    """The first character is from a narrower set than the others."""
    proof_of_all = _one_set(rest, shortest, longest)
    may_start = np.zeros(256, np.bool_)
    may_start[list(_octets(head))] = True

    def proof(texts: Sequence[str], column: TextColumn, values: JoinedValues) -> bool:
        starts_well = may_start.take(values.octets_at(column.starts)).all()
        return bool(starts_well) and proof_of_all(texts, column, values)

    return proof


def _layout(parts: Sequence[_Repeated]) -> _Proof:
    """Every place has its set: one length, and each character replaced by the number of its set."""
    numbers = {part.characters: number for number, part in enumerate(parts, 1)}
    table = bytearray(256)
    for characters, number in numbers.items():
        for octet in _octets(characters):
            table[octet] = number
    kinds = bytes(table)
    layout = b"".join(bytes([numbers[part.characters]]) * part.low for part in parts)

    def proof(texts: Sequence[str], column: TextColumn, _values: JoinedValues) -> bool:
        lengths = column.ends - column.starts
        if lengths.min() != len(layout) or lengths.max() != len(layout):
            return False
        return "".join(texts).encode("latin-1").translate(kinds) == layout * len(texts)

    return proof


def _octets(characters: frozenset[str]) -> bytes:
    return "".join(characters).encode("ascii")
