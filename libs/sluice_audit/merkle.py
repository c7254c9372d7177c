"""The Merkle tree of RFC 6962, section 2.1 (RFC 9162 keeps it): hashes, and a root that grows leaf by leaf.

MTH({}) = sha256(""); a leaf is sha256(0x00 || data); a node is sha256(0x01 || left || right), and the left
subtree is the largest complete one that is smaller than the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
LEAF_PREFIX: Final = b"\x00"
NODE_PREFIX: Final = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf with these bytes."""
    return hashlib.sha256(LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over the hashes of its two children."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def parents(nodes: Sequence[bytes]) -> list[bytes]:
    """The nodes above neighbouring nodes, of which the first is a left child. An odd last one is left out."""
    sha256 = hashlib.sha256
    pairs = iter(nodes)
    return [sha256(NODE_PREFIX + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


class Frontier:
    """The right edge of a growing tree: at most one complete subtree a level, O(log n) memory.

    Level 0 are leaves; node i of level k covers the leaves from i * 2^k to (i + 1) * 2^k.
    """

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        """`edge`: of a tree with `size` leaves, the complete subtrees at its right edge, largest first.

        Raises ValueError when their number is not the number of bits set in `size`.
        """
        levels = [level for level in range(size.bit_length()) if size >> level & 1]
        self._size = size
        self._edge: dict[int, bytes] = dict(zip(reversed(levels), edge, strict=True))

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def copy(self) -> Frontier:
        """The same tree, growing on its own from here."""
        twin = Frontier()
        twin._size, twin._edge = self._size, dict(self._edge)
        return twin

    def extend(self, leaves: Sequence[bytes]) -> list[list[bytes]]:
        """Append leaf hashes; the nodes that this completes, by level, in order. Level 0 are the leaves."""
        completed: list[list[bytes]] = []
        nodes = list(leaves)
        self._size += len(nodes)
        while nodes:
            completed.append(nodes)
            level = len(completed) - 1
            waiting = self._edge.pop(level, None)
            if waiting is not None:
                nodes = [waiting, *nodes]
            if len(nodes) % 2:
                self._edge[level] = nodes[-1]
            nodes = parents(nodes)
        return completed

    def root(self) -> bytes:
        """The root over all leaves so far."""
        root: bytes | None = None
        for level in sorted(self._edge):
            root = self._edge[level] if root is None else node_hash(self._edge[level], root)
        return EMPTY_ROOT if root is None else root
