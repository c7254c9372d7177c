"""Read Avro rows in lockstep: one field of every row, then the next field of every row.

The rows stand one behind the other in one buffer, and each has an index of its own, which only moves forward.
A row whose bytes are wrong reads on into what stands behind it; its index then does not end at its own end,
or a fault was noted on the way, and `whole` leaves it out.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PADDING: Final = b"\x00" * 16
"""Stands behind the last row: where an index that ran away reads."""

_CONTINUED: Final = np.uint8(0x80)
_NEITHER_BRANCH: Final = np.uint8(0xFD)  # 0 is null, 2 is the value
_ODD: Final = np.uint8(1)  # a negative number, zigzag coded
_ONE: Final = np.uint64(1)
_STOPS: Final = np.uint64(0x8080808080808080)
_GROUPS: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
_WINDOW: Final = np.arange(8)


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


Column = TextColumn | NumberColumn


class LockstepReader:
    """Reads fields of the rows from `starts` (n,) to `ends` (n,), positions in `octets`; n is 1 or more.

    `octets` ends with PADDING. Texts of 8 KiB and more count as faults: they belong to rows that are few.
    """

    def __init__(self, octets: Octets, starts: Positions, ends: Positions) -> None:
        self._octets = octets
        self._ends = ends
        self._faults = np.zeros(len(starts), np.uint8)
        self.at = starts

    def whole(self) -> Mask:
        """The rows that were read without a fault and end where they should."""
        whole: Mask = (self._faults == 0) & (self.at == self._ends)
        return whole

    def constant_text(self, text: str) -> TextColumn:
        """Read a text that has to be the same in all rows; shorter than 64 characters, ASCII."""
        wanted = np.frombuffer(bytes([len(text) << 1]) + text.encode("ascii"), np.uint8)
        found = self._octets.take(self.at[:, None] + np.arange(len(wanted)), mode="clip")
        same = found == wanted
        if not same.all():
            self._faults |= ~same.all(axis=1)
        starts = self.at + 1
        self.at = self.at + len(wanted)
        return TextColumn(starts, self.at, None)

    def text(self, *, nullable: bool) -> TextColumn:
        """Read a string, or a union of null and string."""
        nulls = self._branch() if nullable else None
        if nulls is not None and nulls.all():
            nowhere = np.zeros(len(self.at), np.int64)
            return TextColumn(nowhere, nowhere, nulls)
        starts, ends, faults = self._bounds()
        if nulls is not None:
            faults[nulls] = 0
            self.at = np.where(nulls, self.at, ends)
            starts[nulls] = ends[nulls] = 0
        else:
            self.at = ends
        self._faults |= faults
        return TextColumn(starts, ends, nulls)

    def number(self, *, nullable: bool) -> NumberColumn:
        """Read an int or a long, or a union of null and one of them."""
        nulls = self._branch() if nullable else None
        if nulls is not None and nulls.all():
            return NumberColumn(np.zeros(len(self.at), np.int64), nulls)
        values, ends, faults = self._numbers()
        if nulls is not None:
            faults[nulls] = 0
            self.at = np.where(nulls, self.at, ends)
        else:
            self.at = ends
        self._faults |= faults
        return NumberColumn(values, nulls)

    def _branch(self) -> Mask | None:
        branch = self._octets.take(self.at, mode="clip")
        self.at = self.at + 1
        self._faults |= branch & _NEITHER_BRANCH
        return None if branch.min() else branch == 0

    def _bounds(self) -> tuple[Positions, Positions, Octets]:
        """Starts, ends and faults of strings; a length is one byte or two."""
        first = self._octets.take(self.at, mode="clip")
        faults: Octets = first & _ODD
        if first.max() < _CONTINUED:
            starts = self.at + 1
            return starts, starts + (first >> 1), faults
        second = self._octets.take(self.at + 1, mode="clip")
        longer = first >= _CONTINUED
        second *= longer
        faults |= second & _CONTINUED
        starts = self.at + 1 + longer
        lengths = ((first & 0x7F) >> 1) + (second.astype(np.int64) << 6)
        return starts, starts + lengths, faults

    def _numbers(self) -> tuple[Positions, Positions, Octets]:
        """Values, ends and faults of numbers: the 7-bit groups of eight bytes are joined at once."""
        first = self._octets.take(self.at, mode="clip")
        faults = np.zeros(len(first), np.uint8)
        if first.max() < _CONTINUED:
            return _signed(first.astype(np.uint64)), self.at + 1, faults
        window = self._octets.take(self.at[:, None] + _WINDOW, mode="clip").view("<u8")[:, 0]
        stops = ~window & _STOPS
        below_stop = (stops & (~stops + _ONE)) - _ONE  # all bits when no byte of the eight is the last
        zigzag = _joined(window & below_stop & _GROUPS)
        ends = self.at + ((np.bitwise_count(below_stop) + 1) >> 3)
        if not stops.all():
            longer = np.flatnonzero(stops == 0)
            ninth = self._octets.take(self.at[longer] + 8, mode="clip")
            tenth = self._octets.take(self.at[longer] + 9, mode="clip") * (ninth >= _CONTINUED)
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


def _joined(groups: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Join eight 7-bit groups, in pairs, three times."""
    for shift, low in ((1, 0x007F007F007F007F), (2, 0x00003FFF00003FFF), (4, 0x000000000FFFFFFF)):
        kept = np.uint64(low)
        groups = (groups & kept) | ((groups & ~kept) >> np.uint64(shift))
    return groups


def _signed(zigzag: npt.NDArray[np.uint64]) -> Positions:
    return (zigzag >> _ONE).view(np.int64) ^ -(zigzag & _ONE).view(np.int64)
