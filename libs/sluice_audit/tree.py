"""Roots and proofs over stored subtree hashes, for the tree at any size it ever had."""

from __future__ import annotations

from sluice_audit.merkle import EMPTY_ROOT, node_hash
from sluice_audit.node_files import NodeFiles
from sluice_audit.proofs import ConsistencyProof, InclusionProof


def root_at(nodes: NodeFiles, size: int) -> bytes:
    """The root over the first `size` leaves. Raises ValueError when there are not as many."""
    _check(nodes, size)
    return _subtree(nodes, 0, size) if size else EMPTY_ROOT


def inclusion_proof(nodes: NodeFiles, leaf: int, size: int) -> InclusionProof:
    """That leaf `leaf` is in the tree of the first `size` leaves (PATH of RFC 9162, section 2.1.3.1).

    Raises ValueError when the leaf is not among them, or there are not as many.
    """
    _check(nodes, size)
    if not 0 <= leaf < size:
        raise ValueError(f"leaf {leaf} is not among the first {size}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _largest_power_below(end - begin)
        if leaf < middle:
            path.append(_subtree(nodes, middle, end))
            end = middle
        else:
            path.append(_subtree(nodes, begin, middle))
            begin = middle
    return InclusionProof(leaf, size, tuple(reversed(path)))


def consistency_proof(nodes: NodeFiles, old_size: int, size: int) -> ConsistencyProof:
    """That the tree of `size` leaves begins with the one of `old_size` (PROOF of RFC 9162, section 2.1.4.1).

    Raises ValueError when the sizes are not in order, or there are not as many leaves.
    """
    _check(nodes, size)
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {size} leaves was never one of {old_size}")
    if old_size in {0, size}:
        return ConsistencyProof(old_size, size, ())
    path: list[bytes] = []
    begin, end = 0, size
    while old_size != end:
        middle = begin + _largest_power_below(end - begin)
        if old_size <= middle:
            path.append(_subtree(nodes, middle, end))
            end = middle
        else:
            path.append(_subtree(nodes, begin, middle))
            begin = middle
    if begin:  # else the old tree is a subtree of the new one, and whoever verifies has its root
        path.append(_subtree(nodes, begin, end))
    return ConsistencyProof(old_size, size, tuple(reversed(path)))


def _check(nodes: NodeFiles, size: int) -> None:
    if not 0 <= size <= nodes.size:
        raise ValueError(f"the log has {nodes.size} leaves, not {size}")


def _largest_power_below(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _subtree(nodes: NodeFiles, begin: int, end: int) -> bytes:
    """MTH of the leaves from `begin` to `end`, where the tree's shape puts a subtree there."""
    pieces: list[bytes] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        pieces += nodes.nodes(level, begin >> level, 1)
        begin += 1 << level
    root = pieces.pop()
    while pieces:
        root = node_hash(pieces.pop(), root)
    return root
