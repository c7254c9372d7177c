"""Avro's numbers on the wire, for the generated readers and writers.

A number is zigzag coded and cut into groups of 7 bits, low group first. The readers work on bytes, the
writers on text in which each character stands for one byte (latin-1), because slicing and joining text is the
cheapest way that Python has.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_LONG = 2**63 - 1
MIN_LONG = -(2**63)
_MAX_INT = 2**31 - 1
_BEYOND = 2**62
"""An index that no value reaches: a negative length leads here, so the reader cannot end at the end."""
_MAX_GROUPS = 10
_TABLE = 2048
_LONG_MOMENT = 2**49
_MOMENT_END = 2**56


class MalformedError(ValueError):
    """Bytes that Avro does not allow here."""


HALF: tuple[int, ...] = tuple(n >> 1 if n % 2 == 0 else _BEYOND for n in range(256))
"""Length for a zigzag number below 256."""

SIGNED: tuple[int, ...] = tuple((n >> 1) ^ -(n & 1) for n in range(128))
"""Signed number for a one-byte zigzag number."""


_LAST: tuple[str, ...] = tuple(
    chr(n) if n < 128 else chr(n & 127 | 128) + chr(n >> 7) for n in range(1 << 14)
)
"""Last characters of a zigzag number: one or two groups, two at a time, because a look-up is one step."""

_INNER: tuple[str, ...] = tuple(chr(n & 127 | 128) + chr(n >> 7 | 128) for n in range(1 << 14))
"""Two groups with others behind them."""


def _groups(number: int) -> str:
    """Characters of a zigzag number."""
    if number < 1 << 14:
        return _LAST[number]
    if number < 1 << 28:
        return _INNER[number & 0x3FFF] + _LAST[number >> 14]
    out = []
    while number >= 1 << 14:
        out.append(_INNER[number & 0x3FFF])
        number >>= 14
    out.append(_LAST[number])
    return "".join(out)


class _Numbers(dict[int, str]):
    """Signed number to its characters; the common ones are stored, the others made."""

    def __missing__(self, number: int) -> str:
        if not isinstance(number, int):
            raise TypeError(f"{number!r} is not a whole number")
        if not MIN_LONG <= number <= MAX_LONG:
            raise OverflowError(f"{number} does not fit 64 bits")
        return _groups((number << 1) ^ (number >> 63))


NUMBER = _Numbers({n: _groups((n << 1) ^ (n >> 63)) for n in range(-1, _TABLE)})


def numbers(values: Sequence[int]) -> list[str]:
    """Characters of many numbers; those of offsets that a topic of today has are made without a call each."""
    if not values or min(values) < 0 or max(values) >= 1 << 27:
        return [NUMBER[value] for value in values]
    return [
        _INNER[value << 1 & 0x3FFF] + _LAST[value >> 13] if value > 8191 else _LAST[value << 1]
        for value in values
    ]


def moment(number: int) -> str:
    """Characters of a time in microseconds; times from 1978 to 3111 take eight of them, spread at once."""
    n = number << 1
    if not _LONG_MOMENT <= n < _MOMENT_END:
        return NUMBER[number]
    n = (n & 0x0FFFFFFF) | ((n & 0xFFFFFFF0000000) << 4)
    n = (n & 0x00003FFF00003FFF) | ((n & 0x0FFFC0000FFFC000) << 2)
    n = (n & 0x007F007F007F007F) | ((n & 0x3F803F803F803F80) << 1)
    return (n | 0x0080808080808080).to_bytes(8, "little").decode("latin-1")


def long_at(b: bytes, i: int) -> tuple[int, int]:
    """The 64-bit number at ``i`` and where it ends; raises IndexError at the end of ``b``, MalformedError."""
    n = b[i]
    i += 1
    if n > 127:
        group = b[i]
        i += 1
        n = (n & 127) | (group & 127) << 7
        shift = 14
        while group > 127:
            group = b[i]
            i += 1
            n |= (group & 127) << shift
            shift += 7
            if shift > 7 * _MAX_GROUPS:
                raise MalformedError("a number takes more than 10 bytes")
    if n >> 64:
        raise MalformedError("a number does not fit 64 bits")
    return (n >> 1) ^ -(n & 1), i


def int_at(b: bytes, i: int) -> tuple[int, int]:
    """The 32-bit number at ``i`` and where it ends; raises as long_at."""
    number, i = long_at(b, i)
    if not -_MAX_INT - 1 <= number <= _MAX_INT:
        raise MalformedError(f"{number} does not fit 32 bits")
    return number, i


def text_bounds(b: bytes, i: int) -> tuple[int, int]:
    """Start and end of the text or bytes at ``i``; the end may lie behind the bytes."""
    length, i = long_at(b, i)
    if length < 0:
        raise MalformedError("a length is negative")
    return i, i + length


def count_at(b: bytes, i: int) -> tuple[int, int]:
    """Item count of the block at ``i`` and where its items start; a negative count has a size behind it."""
    count, i = long_at(b, i)
    if count < 0:
        size, i = long_at(b, i)
        if size < 0:
            raise MalformedError("a block size is negative")
        return -count, i
    return count, i
