"""Many events in one value: what a database keeps of a batch costs a row instead of a row an event.

A pack is two little-endian numbers of 32 bits (how many events, bytes behind them once decompressed), then
LZ4 over the lengths of all keys and values (32 bits each, in pairs) and these themselves.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np
import pyarrow as pa

_HEAD: Final = struct.Struct("<II")
_CODEC: Final = "lz4_raw"
_WIDTH: Final = 8
"""Bytes of a pair of lengths."""

KeyAndValue = tuple[bytes, bytes]


def packed(events: Sequence[KeyAndValue]) -> bytes:
    """The pack of some events (key, value), in their order."""
    parts = [part for event in events for part in event]
    lengths = np.fromiter(map(len, parts), "<u4", len(parts)).tobytes()
    body = b"".join([lengths, *parts])
    compressed: bytes = pa.compress(body, codec=_CODEC, asbytes=True)
    return _HEAD.pack(len(events), len(body)) + compressed


def unpacked(pack: bytes) -> list[KeyAndValue]:
    """The events of a pack, in their order."""
    count, size = _HEAD.unpack_from(pack)
    body: bytes = pa.decompress(memoryview(pack)[_HEAD.size :], size, codec=_CODEC, asbytes=True)
    lengths = np.frombuffer(body, "<u4", 2 * count).tolist()
    ends = list(accumulate(lengths, initial=_WIDTH * count))
    parts = [body[ends[number] : ends[number + 1]] for number in range(2 * count)]
    return list(zip(parts[::2], parts[1::2], strict=True))
