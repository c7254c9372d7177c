"""A walk over leaf hashes: the growing tree is held against signed heads and stored subtree hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sluice_audit.heads import TreeHead
from sluice_audit.merkle import HASH_BYTES, Frontier
from sluice_audit.node_files import LEVELS_APART, NodeFiles


@dataclass(frozen=True, slots=True)
class NodeFault:
    """A stored subtree hash that does not follow from the leaves under it."""

    level: int
    number: int
    expected: bytes
    found: bytes

    @property
    def first_leaf(self) -> int:
        """The first leaf under it."""
        return self.number << self.level

    @property
    def end_leaf(self) -> int:
        """The leaf after the last one under it."""
        return self.number + 1 << self.level


@dataclass(slots=True)
class HeadWalk:
    """Feed it leaf hashes from the beginning on. `heads` are genuine ones, by size.

    `proven`: the first so many leaves have the root of a head. `misfits`: heads that say otherwise, each
    with the root that the leaves have. `faults`: the first wrong node of each stored level.
    """

    heads: Sequence[TreeHead]
    nodes: NodeFiles | None = None
    proven: int = 0
    misfits: list[tuple[TreeHead, bytes]] = field(default_factory=list)
    faults: dict[int, NodeFault] = field(default_factory=dict)
    _frontier: Frontier = field(default_factory=Frontier)
    _next: int = 0
    _stopped: bool = False

    def copy(self) -> HeadWalk:
        """The same walk, to be continued with other leaves."""
        twin = HeadWalk(self.heads, self.nodes, self.proven, list(self.misfits), dict(self.faults))
        twin._frontier, twin._next, twin._stopped = self._frontier.copy(), self._next, self._stopped
        return twin

    def stop(self) -> None:
        """A leaf is not known: nothing after it can be proven, what follows is ignored."""
        self._stopped = True

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Walk on."""
        at = 0
        while not self._stopped:
            self._meet_heads()
            if at == len(leaves):
                return
            end = len(leaves)
            if self._next < len(self.heads):
                end = min(end, at + self.heads[self._next].size - self._frontier.size)
            before = self._frontier.size
            completed = self._frontier.extend(leaves[at:end])
            if self.nodes is not None:
                self._compare(self.nodes, completed, before)
            at = end

    def _meet_heads(self) -> None:
        while self._next < len(self.heads) and self.heads[self._next].size == self._frontier.size:
            head = self.heads[self._next]
            root = self._frontier.root()
            if root == head.root:
                self.proven = head.size
            else:
                self.misfits.append((head, root))
            self._next += 1

    def _compare(self, nodes: NodeFiles, completed: Sequence[Sequence[bytes]], before: int) -> None:
        for level in range(LEVELS_APART, len(completed), LEVELS_APART):
            first, made = before >> level, completed[level]
            stored = nodes.stored(level, first, len(made))
            if level in self.faults or stored == b"".join(made):
                continue
            for number, expected in enumerate(made):
                found = stored[number * HASH_BYTES : (number + 1) * HASH_BYTES]
                if found != expected:
                    self.faults[level] = NodeFault(level, first + number, expected, found)
                    break
