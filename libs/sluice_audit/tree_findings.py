"""What a walk over all leaves says about the stored subtree hashes and the signed heads."""

from __future__ import annotations

from collections import defaultdict

from sluice_audit.findings import Finding, FindingKind
from sluice_audit.head_walk import HeadWalk, NodeFault
from sluice_audit.heads import TreeHead


def index_findings(walk: HeadWalk) -> list[Finding]:
    """Wrong inner nodes. Where no head proves the leaves below, the lowest one narrows down where to look."""
    faults = [walk.faults[level] for level in sorted(walk.faults)]
    certain = [_index_finding(fault, "") for fault in faults if fault.end_leaf <= walk.proven]
    unsure = [fault for fault in faults if fault.end_leaf > walk.proven][:1]
    return certain + [_index_finding(fault, ", or one of them with its record") for fault in unsure]


def _index_finding(fault: NodeFault, doubt: str) -> Finding:
    return Finding(
        FindingKind.INDEX_ALTERED,
        fault.first_leaf,
        groups=(f"level {fault.level}",),
        expected=fault.expected.hex(),
        found=fault.found.hex(),
        detail=f"node {fault.number} over the leaves {fault.first_leaf} to {fault.end_leaf - 1}{doubt}",
    )


def head_findings(walk: HeadWalk, end: int) -> list[Finding]:
    """Heads that say something else than the leaves; `end`: how many leaves the segments have."""
    roots: dict[int, set[bytes]] = defaultdict(set)
    for head in walk.heads:
        roots[head.size].add(head.root)
    found = [
        _misfit(FindingKind.FORK, head.size, head, root, "this log never had its root")
        for head, root in walk.misfits
        if head.size < walk.proven and len(roots[head.size]) == 1
    ]
    beyond = [misfit for misfit in walk.misfits if misfit[0].size > walk.proven]
    if beyond:
        head, root = beyond[0]
        what = (
            f"among the leaves {walk.proven} to {head.size - 1} some were altered, removed, inserted or "
            f"reordered together with their hashes; {len(beyond) - 1} later heads do not fit either"
        )
        found.append(_misfit(FindingKind.ROOT_MISMATCH, walk.proven, head, root, what))
    last = walk.heads[-1].size if walk.heads else 0
    if last > end:
        detail = f"a genuine head has {last} leaves, the segments have {end}"
        found.append(Finding(FindingKind.LOG_TRUNCATED, end, detail=detail))
    if last < end:
        detail = f"the leaves {last} to {end - 1} are under no genuine head"
        found.append(Finding(FindingKind.UNSIGNED, last, detail=detail))
    return found


def _misfit(kind: FindingKind, leaf: int, head: TreeHead, root: bytes, what: str) -> Finding:
    detail = f"the head of {head.size} leaves, signed at {head.ts_utc}: {what}"
    return Finding(kind, leaf, expected=head.root.hex(), found=root.hex(), detail=detail)
