"""Avro rows, read field by field in machine code: where texts and lists stand, numbers, faults.

numpy goes over one field of all rows at a time, some eight calls a field. Under a steady flow a batch is of a
hundred rows, and the calls were most of the time: a twelfth of it is left.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sluice_kit.columnar.joined_values import Mask, Octets, Positions
from sluice_kit.compiled import compiled

NULLABLE: Final = 1
TEXT: Final = 2
NUMBER: Final = 4
CONSTANT: Final = 6
EMPTY_LIST: Final = 8
TEXT_LIST: Final = 10
OCTET_LIST: Final = 12
NUMBER_ROW: Final = 14
"""Kinds of fields; TEXT and NUMBER may be NULLABLE."""

SOME_NULL: Final = 1
SOME_DIFFER: Final = 2
SOME_UNPROVEN: Final = 4
FIRST_WIDE: Final = 8
"""What is found about a field over all rows, bits. SOME_DIFFER: not all texts are equal. SOME_UNPROVEN: in
one a character stands where it may not. FIRST_WIDE: the first text is not plain ASCII."""
ANYTHING: Final = 63
"""The bit of all octets; a text whose last set it is has no rules here."""

MOST_ITEMS: Final = 8
"""A longer list of texts is a fault; so is one in several blocks, or in one that says its size."""
MOST_OCTETS: Final = 63
"""A longer list of numbers is a fault."""
MOST_PLACES: Final = 64
"""Places at the beginning of a text that can have a set of characters each; all others share one."""
_FAULT: Final = -1
_NOTHING: Final = 0
_LONGER: Final = 0x80
_BRANCHES: Final = 2  # octet of the branch of a value; that of null is 0
_LAST_SHIFT: Final = 63


Int = int | np.int64
"""A place, a count or a number, as the compiler and the type checker see them."""


class Layout(NamedTuple):
    """The fields of a row in their order, f of them.

    ``lows`` and ``highs``: what a number may be, how long a text; ends included. ``sets``: of each field
    (MOST_PLACES, and the rest) the bit that the octets of its text have in ``octet_sets``; of a CONSTANT its
    bytes. ``heads``: how many of these places there are. ``marked``: two fields, for `Found.marks`.
    """

    kinds: npt.NDArray[np.int64]
    lows: npt.NDArray[np.int64]
    highs: npt.NDArray[np.int64]
    heads: npt.NDArray[np.int64]
    sets: npt.NDArray[np.uint8]
    octet_sets: npt.NDArray[np.uint64]
    marked: npt.NDArray[np.int64]


class Found(NamedTuple):
    """What was read of n rows with f fields; anything behind the first fault of a row.

    ``starts`` and ``ends`` (f, n): where a text or list stands, 0 for a null; of numbers ``starts`` are the
    values. ``rows`` (NUMBER_ROW fields, n, MOST_OCTETS) and their ``widths``. ``about`` (f,): the bits above.
    ``first`` (f,): a row that holds a text, -1 without any. ``plain`` (n,): no text has an octet beyond
    ASCII. ``marks`` (2, n): where the first marked field begins and the second ends.
    """

    starts: Positions
    ends: Positions
    nulls: Mask
    rows: Positions
    widths: Positions
    about: Positions
    first: Positions
    plain: Mask
    faults: Mask
    marks: Positions


@compiled
def _text_at(octets: Octets, at: Int, stop: Int) -> tuple[Int, Int]:
    """Where the text at `at` begins and ends; its length takes one byte or two."""
    if at >= stop:
        return _FAULT, _FAULT
    first = np.int64(octets[at])
    at += 1
    length = (first & 0x7F) >> 1
    if first & _LONGER:
        if at >= stop or octets[at] & _LONGER:
            return _FAULT, _FAULT
        length |= np.int64(octets[at]) << 6
        at += 1
    if first & 1 or at + length > stop:
        return _FAULT, _FAULT
    return at, at + length


@compiled
def _number_at(octets: Octets, at: Int, stop: Int) -> tuple[Int, Int]:
    """The zigzag number at `at` and where it ends."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < stop and shift <= np.uint64(_LAST_SHIFT):
        octet = np.uint64(octets[at])
        at += 1
        value |= (octet & np.uint64(0x7F)) << shift
        if octet < np.uint64(_LONGER):
            if shift == np.uint64(_LAST_SHIFT) and octet > np.uint64(1):  # beyond 64 bits
                return 0, _FAULT
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at
        shift += np.uint64(7)
    return 0, _FAULT


@compiled
def _width_at(octets: Octets, at: Int, stop: Int) -> tuple[Int, Int]:
    """How many numbers the list at `at` has, and where they begin."""
    if at >= stop or octets[at] & 1 or octets[at] > 2 * MOST_OCTETS:
        return _FAULT, _FAULT
    return np.int64(octets[at]) >> 1, at + 1


@compiled
def _list_end(octets: Octets, at: Int, stop: Int, kind: Int) -> Int:
    """Where the list at `at` ends: one block, closed by a zero where it has items."""
    if at >= stop:
        return _FAULT
    count = np.int64(octets[at])
    at += 1
    if count == 0:
        return at
    most = MOST_ITEMS if kind == TEXT_LIST else 0 if kind == EMPTY_LIST else MOST_OCTETS
    if count & 1 or count > 2 * most:
        return _FAULT
    for _ in range(count >> 1):
        if kind == TEXT_LIST:
            _, at = _text_at(octets, at, stop)
            if at < 0:
                return _FAULT
        elif at >= stop or octets[at] & _LONGER:
            return _FAULT
        else:
            at += 1
    return at + 1 if at < stop and octets[at] == 0 else _FAULT


@compiled
def _are_equal(octets: Octets, begin: Int, other: Int, length: Int) -> bool:
    one, two, differs = np.uintp(begin), np.uintp(other), np.uint8(0)
    for place in range(np.uintp(length)):
        differs |= octets[one + place] ^ octets[two + place]
    return bool(differs == 0)


@compiled
def _are_plain(octets: Octets, begin: Int, end: Int) -> bool:
    together = np.uint8(0)
    for at in range(np.uintp(begin), np.uintp(end)):
        together |= octets[at]
    return not together & _LONGER


@compiled
def _may_stand(  # noqa: PLR0917 - compiled functions take no keywords cheaply
    octets: Octets,
    begin: Int,
    end: Int,
    sets: npt.NDArray[np.uint8],
    octet_sets: npt.NDArray[np.uint64],
    field: Int,
    heads: Int,
) -> bool:
    """Whether each character of a text is of the set of its place."""
    allowed = of_rest = ~np.uint64(0)
    behind = min(begin + heads, end)
    for at in range(begin, behind):
        allowed &= octet_sets[octets[at]] >> np.uint64(sets[field, at - begin])
    for at in range(np.uintp(behind), np.uintp(end)):
        of_rest &= octet_sets[octets[at]]
    return bool(allowed & (of_rest >> np.uint64(sets[field, MOST_PLACES])) & np.uint64(1))


@compiled
def read_rows(  # noqa: C901, PLR0912, PLR0915, PLR0917 - arrays handed on to its parts would cost more than the work
    octets: Octets, begins: Positions, stops: Positions, layout: Layout, found: Found, to_the_end: bool
) -> None:
    """Read the rows that stand from `begins` to `stops` (n,) into `found`.

    With `to_the_end` a row with anything behind its last field has a fault.
    """
    kinds, lows, highs, heads, sets, octet_sets, marked = layout
    starts, ends, nulls, lists, widths, about, firsts, plain, faults, marks = found
    for row in range(len(begins)):
        at, stop = begins[row], stops[row]
        for field in range(len(kinds)):
            if field == marked[0]:
                marks[0, row] = at
            kind = kinds[field]
            if kind & NULLABLE:  # the branch of a union comes first
                if at >= stop or octets[at] & ~_BRANCHES:
                    at = _FAULT
                    break
                null = octets[at] == 0
                at += 1
                nulls[field, row] = null
                if null:
                    about[field] |= SOME_NULL
                    kind = _NOTHING
                else:
                    kind ^= NULLABLE
            if kind == NUMBER:
                number, at = _number_at(octets, at, stop)
                starts[field, row] = number
                if number < lows[field] or number > highs[field]:
                    at = _FAULT
            elif kind == NUMBER_ROW:
                width, at = _width_at(octets, at, stop)
                which = heads[field]
                if widths[which] < 0:
                    widths[which] = width
                if width != widths[which]:
                    at = _FAULT
                for item in range(width if at >= 0 else 0):
                    lists[which, row, item], at = _number_at(octets, at, stop)
                    if at < 0:
                        break
                if at >= 0 and width:
                    at = at + 1 if at < stop and octets[at] == 0 else _FAULT
            elif kind >= EMPTY_LIST:
                starts[field, row] = at
                at = ends[field, row] = _list_end(octets, at, stop, kind)
            elif kind != _NOTHING:
                begin, at = _text_at(octets, at, stop)
                starts[field, row], ends[field, row] = begin, at
                length, first = at - begin, firsts[field]
                if at < 0:
                    break
                if kind == CONSTANT:  # its bytes stand where the sets of other texts do
                    if length != heads[field]:
                        at = _FAULT
                        break
                    for place in range(length):
                        if octets[begin + place] != sets[field, place]:
                            at = _FAULT
                else:
                    other = starts[field, first] if first >= 0 else 0
                    if (
                        first >= 0
                        and length == ends[field, first] - other
                        and _are_equal(octets, begin, other, length)
                    ):
                        plain[row] &= (
                            not about[field] & FIRST_WIDE
                        )  # what is to be said was said of the first
                    else:
                        if first < 0:
                            firsts[field] = row
                        else:
                            about[field] |= SOME_DIFFER
                        ruled = sets[field, MOST_PLACES] != ANYTHING
                        stand = ruled and _may_stand(octets, begin, at, sets, octet_sets, field, heads[field])
                        if not stand and not _are_plain(octets, begin, at):
                            plain[row] = False
                            if first < 0:
                                about[field] |= FIRST_WIDE
                        if ruled and not (stand and lows[field] <= length <= highs[field]):
                            about[field] |= SOME_UNPROVEN
            if at < 0:
                break
            if field == marked[1]:
                marks[1, row] = at
        faults[row] = at < 0 or (to_the_end and at != stop)
