"""Verification of a whole log: every record, every stored subtree hash, every signed head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sluice_audit.findings import FindingKind, VerifyReport
from sluice_audit.head_findings import judge_heads
from sluice_audit.keys import KnownKeys
from sluice_audit.log_walk import LogWalk
from sluice_audit.node_files import NodeFiles
from sluice_audit.segment_reading import read_segment
from sluice_audit.segments import SegmentRef
from sluice_kit.artifacts import ArtifactStore

_CONSEQUENCES: Final = {FindingKind.ROOT_MISMATCH, FindingKind.LOG_TRUNCATED, FindingKind.UNSIGNED}


def _silent(leaves: int) -> None:
    del leaves


def verify_log(
    store: ArtifactStore,
    segments: Iterable[SegmentRef],
    heads: Iterable[Mapping[str, Any]],
    keys: KnownKeys,
    *,
    origin: str,
    nodes: NodeFiles | None = None,
    progress: Callable[[int], None] = _silent,
) -> VerifyReport:
    """Walk the log called `origin`. Memory: one segment at a time.

    `segments` in order; `heads` as `SignedHead.to_fields` gives them, in any order, and every one that
    somebody kept: a log that was cut together with its heads is found out only by a head from elsewhere.
    Without `nodes` the segments' own leaf hashes are what records are held against. `progress` is called
    with the leaves done so far. Raises StoreUnavailable and OSError; everything that is wrong with the log
    is in the report.
    """
    genuine, findings = judge_heads(heads, keys, origin)
    walk = LogWalk(genuine, nodes)
    count = 0
    for segment in segments:
        walk.take(read_segment(store, segment))
        progress(walk.end)
        count += 1
    findings += walk.findings()
    findings.sort(key=lambda finding: (finding.kind in _CONSEQUENCES, finding.leaf))
    return VerifyReport(walk.end, count, len(genuine), walk.proven, tuple(findings))
