"""Verification of a whole log: every record, every stored subtree hash, every signed head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from sluice_audit.findings import Finding, FindingKind, VerifyReport
from sluice_audit.head_findings import judge_heads
from sluice_audit.keys import KnownKeys
from sluice_audit.log_walk import LogWalk
from sluice_audit.node_files import NodeFiles
from sluice_audit.segment_reading import SegmentReading, read_segment
from sluice_audit.segments import MalformedRef, StoredRef
from sluice_kit.artifacts import ArtifactStore

_CONSEQUENCES: Final = {FindingKind.ROOT_MISMATCH, FindingKind.LOG_TRUNCATED, FindingKind.UNSIGNED}


class Beside(Protocol):
    """Something else that is kept about the records."""

    def take(self, reading: SegmentReading) -> Iterable[Finding]:
        """What is wrong about the next segment."""

    def pass_over(self, segment: MalformedRef) -> Iterable[Finding]:
        """The same for a segment of which nothing can be read."""

    def end(self) -> Iterable[Finding]:
        """What is left over behind the last segment."""


def _silent(leaves: int) -> None:
    del leaves


def verify_log(
    store: ArtifactStore,
    segments: Iterable[StoredRef],
    heads: Iterable[Mapping[str, Any]],
    keys: KnownKeys,
    *,
    origin: str,
    nodes: NodeFiles | None = None,
    beside: Beside | None = None,
    progress: Callable[[int], None] = _silent,
) -> VerifyReport:
    """Walk the log called `origin`. Memory: one segment at a time.

    `segments` in order; `heads` as `SignedHead.to_fields` gives them, in any order, and every one that
    somebody kept: a log that was cut together with its heads is found out only by a head from elsewhere.
    Without `nodes` the segments' own leaf hashes are what records are held against. `beside` is held against
    each reading. `progress` is called with the leaves done so far. Raises StoreUnavailable and OSError;
    everything that is wrong with the log is in the report.
    """
    genuine, findings = judge_heads(heads, keys, origin)
    walk = LogWalk(genuine, nodes)
    count = 0
    for segment in segments:
        if isinstance(segment, MalformedRef):
            walk.pass_over(segment)
            findings += beside.pass_over(segment) if beside else ()
        else:
            reading = read_segment(store, segment)
            walk.take(reading)
            findings += beside.take(reading) if beside else ()
        progress(walk.end)
        count += 1
    findings += [*walk.findings(), *(beside.end() if beside else ())]
    findings.sort(key=lambda finding: (finding.kind in _CONSEQUENCES, finding.leaf))
    return VerifyReport(walk.end, count, len(genuine), walk.proven, tuple(findings), nodes is not None)
