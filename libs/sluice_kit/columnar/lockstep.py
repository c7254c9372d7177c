"""Read Avro rows in lockstep: one field of every row, then the next field of every row.

The rows stand one behind the other in one buffer, and each has an index of its own, which only moves forward.
A row whose bytes are wrong reads on into what stands behind it; its index then does not end at its own end,
or a fault was noted on the way, and `whole` leaves it out.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from sluice_kit.columnar.joined_values import JoinedValues, Mask, Octets, Positions, Windows

_CONTINUED: Final = np.uint8(0x80)
_NULL: Final = b"\x00"
_VALUE: Final = b"\x02"
_NEITHER_BRANCH: Final = np.uint8(0xFD)
_ODD: Final = np.uint8(1)  # a negative number, zigzag coded
_TWO_BYTE_LENGTH: Final = 64
_SHORT_LENGTHS: Final = bytes(range(0, 128, 2))
"""Octets that are the length of a text by themselves."""
_SIGNED: Final = np.array([(octet >> 1) ^ -(octet & 1) for octet in range(128)], np.int64)
"""The number that an octet stands for by itself."""
_ONE: Final = np.uint64(1)
_STOPS: Final = np.uint64(0x8080808080808080)
_GROUPS: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
MOST_ITEMS: Final = 8
"""A longer list of texts counts as a fault; so does one in several blocks, or in one that says its size."""
MOST_OCTETS: Final = 63
"""A longer list of one-byte numbers counts as a fault."""
_PAIRS: Final = tuple(
    (np.uint64(shift), np.uint64(low), np.uint64(low << 8 * shift))
    for shift, low in ((1, 0x007F007F007F007F), (2, 0x00003FFF00003FFF), (4, 0x000000000FFFFFFF))
)
"""How far the higher of two neighbours moves down, the bits of the lower ones, those of the higher ones."""


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


class LockstepReader:
    """Reads fields of the rows from `starts` (n,) to `ends` (n,), places in `values`; n is 1 or more.

    Texts of 8 KiB and more count as faults: they belong to rows that are few.
    """

    def __init__(self, values: JoinedValues, starts: Positions, ends: Positions) -> None:
        self._values = values
        self._ends = ends
        self._faults = np.zeros(len(starts), np.uint8)
        self._all_null = _NULL * len(starts)
        self._no_null = _VALUE * len(starts)
        self._everywhere = np.ones(len(starts), np.bool_)
        self._nowhere = np.zeros(len(starts), np.int64)
        self.at = starts

    def whole(self) -> Mask:
        """The rows that were read without a fault and end where they should."""
        whole: Mask = (self._faults == 0) & (self.at == self._ends)
        return whole

    def sound(self) -> Mask:
        """The rows that were read without a fault and did not leave their bytes so far."""
        sound: Mask = (self._faults == 0) & (self.at <= self._ends)
        return sound

    def constant_text(self, text: str) -> TextColumn:
        """Read a text that has to be the same in all rows; shorter than 64 characters, ASCII."""
        wanted = bytes([len(text) << 1]) + text.encode("ascii")
        self._faults |= ~self._values.holds(wanted, self.at)
        starts = self.at + 1
        self.at = self.at + len(wanted)
        return TextColumn(starts, self.at, None)

    def text(self, *, nullable: bool) -> TextColumn:
        """Read a string, or a union of null and string."""
        nulls = self._branch() if nullable else None
        if nulls is self._everywhere:
            return TextColumn(self._nowhere, self._nowhere, nulls)
        starts, ends, faults = self._bounds()
        self._advance(ends, faults, nulls)
        if nulls is not None:
            starts[nulls] = ends[nulls] = 0
        return TextColumn(starts, ends, nulls)

    def number(self, *, nullable: bool) -> NumberColumn:
        """Read an int or a long, or a union of null and one of them."""
        nulls = self._branch() if nullable else None
        if nulls is self._everywhere:
            return NumberColumn(self._nowhere, nulls)
        values, ends, faults = self._numbers()
        self._advance(ends, faults, nulls)
        return NumberColumn(values, nulls)

    def empty_list(self) -> ListColumn:
        """Read a list that has no items."""
        starts = self.at
        self._faults |= self._values.octets_at(starts)
        self.at = starts + 1
        return ListColumn(starts, self.at)

    def text_list(self) -> ListColumn:
        """Read a list of strings: one block of MOST_ITEMS at most."""
        starts = self.at
        counts = self._values.octets_at(starts)
        self._faults |= (counts & _ODD) | (counts > 2 * MOST_ITEMS)
        self.at = starts + 1
        for item in range(min(MOST_ITEMS, int(counts.max()) >> 1)):
            _, ends, faults = self._bounds()
            self._advance(ends, faults, counts <= 2 * item)
        filled = counts > 0
        self._faults |= self._values.octets_at(self.at) * filled
        self.at = self.at + filled
        return ListColumn(starts, self.at)

    def number_rows(self) -> RowsColumn:
        """Read a list of numbers: one block, as long as that of the first row without a fault."""
        counts = self._values.octets_at(self.at)
        first = int(counts[np.argmin(self._faults)])
        self._faults |= (counts != first) | (counts & (_ODD | _CONTINUED))
        self.at = self.at + 1
        width = first >> 1 if first < _CONTINUED else 0
        values = np.empty((len(counts), width), np.int64)
        for item in range(width):
            values[:, item], ends, faults = self._numbers()
            self._advance(ends, faults, None)
        if width:
            self._faults |= self._values.octets_at(self.at)
            self.at = self.at + 1
        return RowsColumn(values)

    def octet_list(self) -> ListColumn:
        """Read a list of numbers that take one byte each: one block of MOST_OCTETS at most."""
        starts = self.at
        counts = self._values.octets_at(starts)
        self._faults |= (counts & _ODD) | (counts > 2 * MOST_OCTETS)
        self.at = starts + 1
        for item in range(min(MOST_OCTETS, int(counts.max()) >> 1)):
            there = counts > 2 * item
            self._faults |= (self._values.octets_at(self.at) & _CONTINUED) * there
            self.at = self.at + there
        filled = counts > 0
        self._faults |= self._values.octets_at(self.at) * filled
        self.at = self.at + filled
        return ListColumn(starts, self.at)

    def _advance(self, ends: Positions, faults: Octets | None, nulls: Mask | None) -> None:
        """Move all rows to `ends` and note their faults; where the value is null, nothing was read."""
        if nulls is None:
            self.at = ends
        else:
            self.at = np.where(nulls, self.at, ends)
            if faults is not None:
                faults[nulls] = 0
        if faults is not None:
            self._faults |= faults

    def _branch(self) -> Mask | None:
        """The rows that are null, None when no row is."""
        branch = self._values.octets_at(self.at)
        self.at = self.at + 1
        found = branch.tobytes()
        if found == self._no_null:
            return None
        if found == self._all_null:
            return self._everywhere
        self._faults |= branch & _NEITHER_BRANCH
        nulls: Mask = branch == 0
        return nulls

    def _bounds(self) -> tuple[Positions, Positions, Octets | None]:
        """Starts, ends and faults of strings; a length is one byte or two."""
        first = self._values.octets_at(self.at)
        found = first.tobytes()
        if found.count(found[:1]) == len(found):  # ids and hashes mostly are of one length
            length = self._one_length(found[0])
            if length is not None:
                starts = self.at + (1 if length < _TWO_BYTE_LENGTH else 2)
                return starts, starts + length, None
        elif not found.translate(None, _SHORT_LENGTHS):
            starts = self.at + 1
            return starts, starts + (first >> 1), None
        faults: Octets = first & _ODD
        longer = first >> 7
        second = self._values.octets_at(self.at + 1) * longer
        faults |= second & _CONTINUED
        starts = self.at + 1
        starts += longer
        lengths = second.astype(np.int64) << 6
        lengths += (first & 0x7F) >> 1
        return starts, starts + lengths, faults

    def _one_length(self, first: int) -> int | None:
        """The length of all texts, whose first octet is `first`; None where there are several, or faults."""
        if first & 1:
            return None
        if first < _CONTINUED:
            return first >> 1
        second = self._values.octets_at(self.at + 1).tobytes()
        if second[0] == 0 or second[0] >= _CONTINUED or second.count(second[:1]) != len(second):
            return None
        return second[0] << 6 | (first & 0x7F) >> 1

    def _numbers(self) -> tuple[Positions, Positions, Octets | None]:
        """Values, ends and faults of numbers: the 7-bit groups of eight bytes are joined at once."""
        first = self._values.octets_at(self.at)
        if first.tobytes().isascii():
            return _SIGNED.take(first), self.at + 1, None
        window = self._values.windows_at(self.at)
        stops = ~window & _STOPS
        below_stop = (stops & (~stops + _ONE)) - _ONE  # all bits when no byte of the eight is the last
        zigzag = _joined(window & below_stop & _GROUPS)
        ends = self.at + ((np.bitwise_count(below_stop) + 1) >> 3)
        faults = None
        if np.count_nonzero(stops) < len(stops):
            longer = np.flatnonzero(stops == 0)
            faults = np.zeros(len(stops), np.uint8)
            ninth = self._values.octets_at(self.at[longer] + 8)
            tenth = self._values.octets_at(self.at[longer] + 9) * (ninth >= _CONTINUED)
            faults[longer] = tenth & 0xFE  # beyond 64 bits
            zigzag[longer] |= (ninth & 0x7F).astype(np.uint64) << np.uint64(56)
            zigzag[longer] |= tenth.astype(np.uint64) << np.uint64(63)
            ends[longer] = self.at[longer] + 9 + (ninth >= _CONTINUED)
        return _signed(zigzag), ends, faults


def _taken(nulls: Mask | None, rows: Positions) -> Mask | None:
    if nulls is None:
        return None
    left = nulls.take(rows)
    return left if left.any() else None


def _joined(groups: Windows) -> Windows:
    """Join eight 7-bit groups, in pairs, three times."""
    for shift, low, high in _PAIRS:
        groups = (groups & low) | ((groups & high) >> shift)
    return groups


def _signed(zigzag: Windows) -> Positions:
    return (zigzag >> _ONE).view(np.int64) ^ -(zigzag & _ONE).view(np.int64)
