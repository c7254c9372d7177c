"""How fast the machine is at the moment: one shared with others takes twice as long at some hours."""

import hashlib
import statistics
import time
from typing import Final

_KEYS: Final = 60_000
_TURNS: Final = 5


def reference_ms() -> float:
    """CPU milliseconds that a fixed piece of work takes now, the median of five turns.

    It is what stages do most: objects in dictionaries, more than the nearest cache holds, texts and hashes.
    Figures of two runs can be compared where this is about the same.
    """
    return round(statistics.median(_work_seconds() for _ in range(_TURNS)) * 1e3, 1)


def _work_seconds() -> float:
    begin = time.thread_time()
    kept: dict[str, tuple[int, bytes]] = {}
    for number in range(_KEYS):
        key = f"C-{number * 7919 % _KEYS:07d}"
        kept[key] = (number, hashlib.sha256(key.encode()).digest())
    amount, digest = 0, hashlib.sha256()
    for key in sorted(kept):
        number, octets = kept[key]
        amount += number
        digest.update(octets)
    return time.thread_time() - begin
