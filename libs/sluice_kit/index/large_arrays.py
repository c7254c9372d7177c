"""Large arrays in memory of their own.

A segment's prefixes live for hours between short-lived buffers. From the ordinary heap such arrays leave
holes that are never given back; an anonymous mapping goes when the array goes.
"""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

from sluice_kit.index.layout import Words


def large_words(count: int) -> Words:
    """`count` zeroed little-endian 64-bit words; memory is touched as they are written."""
    return np.frombuffer(mmap.mmap(-1, max(1, count) * 8), dtype=np.uint64)[:count]


def large_octets(count: int) -> npt.NDArray[np.uint8]:
    """`count` zeroed bytes."""
    return np.frombuffer(mmap.mmap(-1, max(1, count)), dtype=np.uint8)[:count]
