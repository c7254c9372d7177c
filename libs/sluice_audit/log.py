"""The writing side: records are appended, sealed as a segment, and the log is signed at its new size.

What stands for good is what the caller committed: segments and heads, in a table of its own. The node files
follow from the segments, so a crash at any place costs nothing: open the log anew with what was committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluice_audit.errors import LogDiverged, NodesMissing, SegmentDamaged
from sluice_audit.heads import SignedHead, TreeHead
from sluice_audit.keys import SigningKey
from sluice_audit.merkle import Frontier
from sluice_audit.node_files import NodeFiles
from sluice_audit.proofs import ConsistencyProof, InclusionProof
from sluice_audit.record_rows import RecordRows
from sluice_audit.segment_files import SegmentFile
from sluice_audit.segments import SegmentRef, seal_segment
from sluice_audit.tree import consistency_proof, inclusion_proof, root_at
from sluice_kit.artifacts import ArtifactStore


@dataclass(frozen=True, slots=True)
class Appended:
    """Where records will stand once they are sealed, and the leaf hash of each."""

    first_leaf: int
    leaf_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment and the head of the log that ends with it. Commit both, or open the log anew without them."""

    segment: SegmentRef
    head: SignedHead


class AuditLog:
    """One log, one writer. Proofs may be asked for from other threads."""

    def __init__(self, store: ArtifactStore, nodes: NodeFiles, key: SigningKey, origin: str) -> None:
        self._store = store
        self._nodes = nodes
        self._key = key
        self._origin = origin
        self._frontier = nodes.frontier()
        self._pending: list[RecordRows] = []

    @classmethod
    def open(
        cls,
        store: ArtifactStore,
        folder: Path,
        key: SigningKey,
        origin: str,
        *,
        segments: Sequence[SegmentRef] = (),
        last_head: SignedHead | None = None,
    ) -> AuditLog:
        """Go on with the log that these committed segments make. `folder` holds its node files.

        Node files that are missing, too short or do not have the last head's root are made anew from the
        segments. Raises LogDiverged when even then they do not have it, DigestMismatch, ArtifactMissing,
        SegmentDamaged.
        """
        size = segments[-1].end_leaf if segments else 0
        if last_head is not None and (last_head.head.size, last_head.head.origin) != (size, origin):
            head = last_head.head
            raise LogDiverged(
                f"the segments of {origin} have {size} leaves, its last head {head.size} of {head.origin}"
            )
        try:
            nodes = NodeFiles(folder, size)
        except NodesMissing:
            nodes = rebuild_nodes(store, folder, segments)
        if last_head is not None and root_at(nodes, size) != last_head.head.root:
            nodes.close()
            nodes = rebuild_nodes(store, folder, segments)
            if root_at(nodes, size) != last_head.head.root:
                nodes.close()
                raise LogDiverged(
                    f"{origin}: the segments do not have the root of the last head; verify the log"
                )
        return cls(store, nodes, key, origin)

    @property
    def nodes(self) -> NodeFiles:
        """The subtree hashes of what is sealed."""
        return self._nodes

    @property
    def size(self) -> int:
        """Leaves that are sealed."""
        return self._nodes.size

    @property
    def pending(self) -> int:
        """Records that were appended since."""
        return sum(map(len, self._pending))

    def append(self, records: Sequence[Mapping[str, Any]]) -> Appended:
        """Take records, in order, all or none. Raises RecordInvalid. Nothing is on disk before `seal`."""
        return self._appended(RecordRows.of_records(records) if records else None)

    def append_canonical(self, texts: Sequence[Sequence[str]]) -> Appended:
        """The same for records whose field groups, in the order of `GROUPS`, are canonical JSON already."""
        return self._appended(RecordRows.of_canonical(texts) if texts else None)

    def _appended(self, rows: RecordRows | None) -> Appended:
        first = self.size + self.pending
        if rows is None:
            return Appended(first, ())
        self._pending.append(rows)
        return Appended(first, tuple(rows.leaves))

    def discard(self) -> None:
        """Forget what was appended since the last seal."""
        self._pending.clear()

    def seal(self, ts_utc: int) -> Sealed | None:
        """Seal what was appended as a segment and sign the log as of `ts_utc` (microseconds since 1970 UTC).

        None without records. Raises StoreUnavailable, OSError; it can then be called again.
        """
        if not self._pending:
            return None
        segment = seal_segment(self._store, self._pending, self.size)
        frontier = self._frontier.copy()
        completed = frontier.extend([leaf for rows in self._pending for leaf in rows.leaves])
        head = self._key.sign(TreeHead(self._origin, frontier.size, frontier.root(), ts_utc))
        self._nodes.append(completed)
        self._frontier = frontier
        self._pending.clear()
        return Sealed(segment, head)

    def prove(self, leaf: int, size: int | None = None) -> InclusionProof:
        """That a leaf is in the log at a size (default: now). Raises ValueError."""
        return inclusion_proof(self._nodes, leaf, self.size if size is None else size)

    def prove_consistency(self, old_size: int, size: int | None = None) -> ConsistencyProof:
        """That the log at a size (default: now) is the older one, appended to. Raises ValueError."""
        return consistency_proof(self._nodes, old_size, self.size if size is None else size)

    def close(self) -> None:
        """Close the node files."""
        self._nodes.close()


def rebuild_nodes(store: ArtifactStore, folder: Path, segments: Sequence[SegmentRef]) -> NodeFiles:
    """Make the node files anew from the content of all segments.

    Raises DigestMismatch, ArtifactMissing, SegmentDamaged, StoreUnavailable.
    """
    nodes, frontier = NodeFiles(folder), Frontier()
    for segment in segments:
        uri = segment.locator.uri
        with SegmentFile(pa.BufferReader(store.read(segment.locator))) as file:
            for part in file.read_all():
                nodes.append(frontier.extend(part.rows.leaves))
        if frontier.size != segment.end_leaf:
            raise SegmentDamaged(uri, f"it ends at leaf {frontier.size}, not at {segment.end_leaf}")
    return nodes
