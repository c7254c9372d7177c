"""Inclusion and consistency proofs, checked with roots alone (RFC 9162, sections 2.1.3.2 and 2.1.4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from sluice_audit.merkle import EMPTY_ROOT, HASH_BYTES, node_hash


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Leaf `leaf` (from 0) is in the tree of the first `size` leaves. `path`: hashes from the leaf up."""

    leaf: int
    size: int
    path: tuple[bytes, ...]

    def root(self, leaf_hash: bytes) -> bytes | None:
        """The root that follows from the leaf's hash; None when the proof has not the shape of one."""
        if not 0 <= self.leaf < self.size or not _hashes(leaf_hash, *self.path):
            return None
        node, last, at = leaf_hash, self.size - 1, self.leaf
        for sibling in self.path:
            if last == 0:
                return None
            if at & 1 or at == last:
                node = node_hash(sibling, node)
                while at and not at & 1:
                    at, last = at >> 1, last >> 1
            else:
                node = node_hash(node, sibling)
            at, last = at >> 1, last >> 1
        return node if last == 0 else None

    def proves(self, leaf_hash: bytes, root: bytes) -> bool:
        """Whether the leaf with this hash stands at `leaf` in the tree with this root and `size`."""
        return self.root(leaf_hash) == root


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """The first `old_size` leaves of the tree of `size` leaves are those of an older tree, unchanged."""

    old_size: int
    size: int
    path: tuple[bytes, ...]

    def proves(self, old_root: bytes, root: bytes) -> bool:
        """Whether the tree with `root` is the one with `old_root`, appended to."""
        if not 0 <= self.old_size <= self.size or not _hashes(old_root, root, *self.path):
            return False
        if self.old_size == 0:
            return not self.path and old_root == EMPTY_ROOT
        if self.old_size == self.size:
            return not self.path and old_root == root
        path = list(self.path)
        if self.old_size & (self.old_size - 1) == 0:
            path.insert(0, old_root)
        if not path:
            return False
        return _roots(path, self.old_size - 1, self.size - 1) == (old_root, root)


def _roots(path: list[bytes], at: int, last: int) -> tuple[bytes, bytes] | None:
    """The older and the newer root that follow from a consistency path, None when it has no such shape."""
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if at & 1 or at == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        at, last = at >> 1, last >> 1
    return (older, newer) if last == 0 else None


def _hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
