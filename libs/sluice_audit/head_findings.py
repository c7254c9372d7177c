"""Which signed heads are genuine, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from sluice_audit.findings import Finding, FindingKind
from sluice_audit.heads import SignedHead, TreeHead
from sluice_audit.keys import HeadCheck, KnownKeys

_OF_CHECK: Final = {
    HeadCheck.UNKNOWN_KEY: FindingKind.HEAD_KEY_UNKNOWN,
    HeadCheck.KEY_RETIRED: FindingKind.HEAD_KEY_RETIRED,
    HeadCheck.SIGNATURE_INVALID: FindingKind.HEAD_ALTERED,
}


def judge_heads(
    heads: Iterable[Mapping[str, Any]], keys: KnownKeys, origin: str
) -> tuple[list[TreeHead], list[Finding]]:
    """The genuine heads of the log `origin` by size, and a finding for each other one and for each fork."""
    genuine: list[TreeHead] = []
    findings: list[Finding] = []
    for number, fields in enumerate(heads):
        try:
            signed = SignedHead.load(fields)
        except ValueError as error:
            findings.append(Finding(FindingKind.HEAD_ALTERED, 0, detail=f"head {number}: {error}"))
            continue
        finding = _finding(number, signed, keys.check(signed), origin)
        if finding is None:
            genuine.append(signed.head)
        else:
            findings.append(finding)
    genuine.sort(key=lambda head: (head.size, head.ts_utc))
    return genuine, findings + [_fork(*pair) for pair in pairwise(genuine) if _differ(*pair)]


def _finding(number: int, signed: SignedHead, check: HeadCheck, origin: str) -> Finding | None:
    head = signed.head
    if check is not HeadCheck.GENUINE:
        detail = f"head {number} of {head.size} leaves, key {signed.key_id}"
        return Finding(_OF_CHECK[check], head.size, found=head.root.hex(), detail=detail)
    if head.origin != origin:
        detail = f"head {number} of {head.size} leaves is of {head.origin}, not of {origin}"
        return Finding(FindingKind.HEAD_OF_ANOTHER_LOG, head.size, found=head.root.hex(), detail=detail)
    return None


def _differ(one: TreeHead, other: TreeHead) -> bool:
    return one.size == other.size and one.root != other.root


def _fork(one: TreeHead, other: TreeHead) -> Finding:
    return Finding(
        FindingKind.FORK,
        one.size,
        expected=one.root.hex(),
        found=other.root.hex(),
        detail=f"two genuine heads of {one.size} leaves, signed at {one.ts_utc} and at {other.ts_utc}",
    )
