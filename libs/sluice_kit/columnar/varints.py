"""Avro zigzag varints and length prefixes for whole columns at once."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluice_contracts.wire import moment
from sluice_kit.compiled import compiled

_PAYLOAD_BITS: Final = np.uint64(7)
_PAYLOAD_MASK: Final = np.uint64(0x7F)
_CONTINUED: Final = np.uint64(0x80)
_LONGEST: Final = 10
"""Octets of the longest number."""
_FIRST_MOMENT: Final = 1 << 48
_MOMENT_END: Final = 1 << 55
"""Between them a zigzag number takes eight octets."""
_SPREADING: Final = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))
    for low, high, shift in (
        (0x0FFFFFFF, 0xFFFFFFF0000000, 4),
        (0x00003FFF00003FFF, 0x0FFFC0000FFFC000, 2),
        (0x007F007F007F007F, 0x3F803F803F803F80, 1),
    )
)
_CONTINUATIONS: Final = np.uint64(0x0080808080808080)
TABLE_LENGTHS: Final = 8192  # lengths below this fit two bytes and are looked up, not computed


def zigzag_varints(values: npt.NDArray[np.int64]) -> pa.BinaryArray:
    """Encode each int64 as an Avro long; the result has no nulls."""
    offsets = np.empty(len(values) + 1, np.int32)
    data = np.empty(_LONGEST * len(values), np.uint8)
    size = _write(np.ascontiguousarray(values, np.int64), offsets, data)
    return binary_array(offsets, data[:size])


@compiled
def _write(values: npt.NDArray[np.int64], offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> int:
    """Write numbers one behind the other; how many octets they take."""
    at = offsets[0] = 0
    for row in range(len(values)):
        value = values[row]
        rest = np.uint64((value << 1) ^ (value >> 63))
        while rest > _PAYLOAD_MASK:
            data[at] = (rest & _PAYLOAD_MASK) | _CONTINUED
            rest >>= _PAYLOAD_BITS
            at += 1
        data[at] = rest
        at += 1
        offsets[row + 1] = at
    return at


def moments(values: npt.NDArray[np.int64]) -> list[str]:
    """`sluice_contracts.wire.moment` of each: the characters of times in microseconds."""
    if not len(values):
        return []
    if values.min() < _FIRST_MOMENT or values.max() >= _MOMENT_END:
        return list(map(moment, values.tolist()))
    spread = values.astype(np.uint64) << np.uint64(1)
    for low, high, shift in _SPREADING:  # eight octets of seven bits each
        spread = (spread & low) | ((spread & high) << shift)
    text = (spread | _CONTINUATIONS).astype("<u8").tobytes().decode("latin-1")
    return [text[at : at + 8] for at in range(0, len(text), 8)]


def varint(value: int) -> bytes:
    """Encode one int as an Avro long."""
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    octets = bytearray()
    while rest > 0x7F:
        octets.append(rest & 0x7F | 0x80)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)


def binary_array(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8] | bytes) -> pa.BinaryArray:
    """Wrap offsets and bytes as a binary column without copying them."""
    return pa.Array.from_buffers(
        pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def _length_table(branch: bytes) -> pa.BinaryArray:
    return pa.array([branch + varint(length) for length in range(TABLE_LENGTHS)], pa.binary())


_TABLES: Final[dict[bytes, pa.BinaryArray]] = {}


def length_prefixes(lengths: pa.Array, branch: bytes) -> pa.BinaryArray:
    """Return `branch` + varint(length) for each length; a null length stays null.

    `branch` is the union branch of a nullable field, or empty. Short lengths come from a table (4 ns a
    row); a column with a value of 8 KiB or more takes the computed way.
    """
    longest = pc.max(lengths).as_py()
    if longest is None or longest < TABLE_LENGTHS:
        table = _TABLES.get(branch)
        if table is None:
            table = _TABLES.setdefault(branch, _length_table(branch))
        return table.take(lengths)
    computed = zigzag_varints(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False).astype(np.int64))
    prefixed = pc.binary_join_element_wise(pa.scalar(branch, pa.binary()), computed, b"")
    return pc.if_else(lengths.is_valid(), prefixed, pa.scalar(None, pa.binary()))
