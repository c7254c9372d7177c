"""The walk of a verification, segment by segment, and who is right where two accounts differ.

Three accounts of each leaf are held against one another: the record's content, the leaf hash beside it in
its segment, and the leaf index (the node files). What the log *claims* of a leaf is what the index says,
without an index what stands beside the record. Signed heads decide whether claim or content is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sluice_audit.differences import Difference
from sluice_audit.findings import Finding, FindingKind
from sluice_audit.head_walk import HeadWalk
from sluice_audit.heads import TreeHead
from sluice_audit.merkle import HASH_BYTES
from sluice_audit.node_files import NodeFiles
from sluice_audit.record_rows import LEAF_HASH
from sluice_audit.segment_findings import (
    container_findings,
    count_findings,
    file_findings,
    record_differences,
    record_finding,
)
from sluice_audit.segment_reading import SegmentReading
from sluice_audit.segments import MalformedRef, SegmentRef
from sluice_audit.tree_findings import head_findings, index_findings


class LogWalk:
    """Feed it the readings of all segments, in order. `heads`: the genuine ones, by size.

    Claims and content are walked over as one tree until they differ, as two from then on.
    """

    def __init__(self, heads: Sequence[TreeHead], nodes: NodeFiles | None) -> None:
        self._heads = heads
        self._nodes = nodes
        self._claims = self._content = HeadWalk(heads, nodes)
        self._claims.extend([])
        self._findings: list[Finding] = []
        self._differences: list[tuple[SegmentReading, Difference]] = []
        self.end = 0

    @property
    def proven(self) -> int:
        """The first so many leaves have the root of a genuine head."""
        return self._best().proven

    def take(self, reading: SegmentReading) -> None:
        """The next segment."""
        segment = reading.ref
        if segment.first_leaf != self.end:
            self._misplaced(segment)
        indexed = self._indexed(segment.first_leaf, segment.rows)
        claimed = reading.columns if indexed is None else indexed
        wrong = [*file_findings(reading)]
        if indexed is None:
            wrong += count_findings(reading)
        different = record_differences(reading, claimed)
        if not wrong and not different:
            wrong += container_findings(reading)
        self._findings += wrong
        self._differences += [(reading, difference) for difference in different]
        if claimed != reading.leaves:
            self._part()
        _extend(self._claims, claimed, segment.rows)
        if self._content is not self._claims:
            _extend(self._content, reading.leaves, segment.rows)
        self.end = segment.end_leaf

    def pass_over(self, segment: MalformedRef) -> None:
        """The next segment, of which nothing can be read."""
        detail = f"the stored reference of this segment of {segment.rows} rows: {segment.problem}"
        self._findings.append(Finding(FindingKind.REFERENCE_ALTERED, segment.first_leaf, detail=detail))
        self._go_without(segment.end_leaf)
        self.end = segment.end_leaf

    def findings(self) -> list[Finding]:
        """Everything, once all segments were taken."""
        best = self._best()
        return [
            *self._findings,
            *(self._judge(reading, difference) for reading, difference in self._differences),
            *index_findings(best),
            *head_findings(best, self.end),
        ]

    def _misplaced(self, segment: SegmentRef) -> None:
        detail = f"it begins at leaf {segment.first_leaf}, the one before it ends at {self.end}"
        place = min(self.end, segment.first_leaf)
        self._findings.append(
            Finding(FindingKind.SEGMENT_MISPLACED, place, segment.locator.uri, detail=detail)
        )
        self._go_without(segment.first_leaf)

    def _go_without(self, end: int) -> None:
        """No segment has the leaves up to `end`, but the index may know them."""
        between = self._indexed(self.end, end - self.end) if end > self.end else None
        self._part()
        self._content.stop()
        if between is None:
            self._claims.stop()
        else:
            self._claims.extend(between)

    def _indexed(self, first: int, count: int) -> list[bytes] | None:
        if self._nodes is None or self._nodes.size < first + count:
            return None
        data = self._nodes.stored(0, first, count)
        return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]

    def _part(self) -> None:
        if self._content is self._claims:
            self._content = self._claims.copy()

    def _best(self) -> HeadWalk:
        return self._content if self._content.proven > self._claims.proven else self._claims

    def _judge(self, reading: SegmentReading, difference: Difference) -> Finding:
        """Content and claim differ: who is right?"""
        finding = record_finding(reading, difference)
        if finding.leaf < self._claims.proven:
            return finding
        if finding.leaf >= self._content.proven:
            unsure = "no signed head says whether the record or its leaf hash is right"
            return replace(finding, detail="; ".join(filter(None, [finding.detail, unsure])))
        intact = replace(
            finding,
            kind=FindingKind.RECORD_ALTERED,
            groups=(LEAF_HASH,),
            expected=finding.found,
            found=finding.expected,
            detail="only the hash beside the record; the record itself is intact",
            byte_range=reading.holding(difference.row, (LEAF_HASH,)),
        )
        if self._nodes is None:
            return intact
        return replace(
            intact,
            kind=FindingKind.INDEX_ALTERED,
            groups=("level 0",),
            detail="only the leaf index; the record itself is intact",
            byte_range=None,
        )


def _extend(walk: HeadWalk, leaves: Sequence[bytes | None], rows: int) -> None:
    known = [leaf for leaf in leaves if leaf]
    if len(known) == len(leaves) == rows:
        walk.extend(known)
    else:
        walk.stop()
