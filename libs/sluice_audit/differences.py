"""How the records of a segment differ from the leaf hashes that the log claims for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluice_audit.findings import MOST_FINDINGS, FindingKind


@dataclass(frozen=True, slots=True)
class Difference:
    """At a row, the log claims one leaf hash and the content has another (None: there is none)."""

    kind: FindingKind
    row: int
    claimed: bytes | None
    content: bytes | None


def differences(claimed: Sequence[bytes], content: Sequence[bytes | None]) -> Iterator[Difference]:
    """The differences, first one first, at most MOST_FINDINGS. Rows that cannot be read (None) are left out.

    From a removed, inserted or displaced row on all rows have moved: it is the last one that is told.
    """
    claimed_at = {leaf: row for row, leaf in enumerate(claimed)}
    content_at = {leaf: row for row, leaf in enumerate(content)}
    told = 0
    for row in range(max(len(claimed), len(content))):
        if row >= len(content):
            yield Difference(FindingKind.RECORD_REMOVED, row, claimed[row], None)
            return
        found = content[row]
        if row >= len(claimed):
            yield Difference(FindingKind.RECORD_INSERTED, row, None, found)
            return
        wanted = claimed[row]
        if found is None or wanted == found:
            continue
        kind = _kind(comes_later=claimed_at.get(found, -1) > row, went_later=content_at.get(wanted, -1) > row)
        yield Difference(kind, row, wanted, found)
        told += 1
        if kind is not FindingKind.RECORD_ALTERED or told == MOST_FINDINGS:
            return


def _kind(*, comes_later: bool, went_later: bool) -> FindingKind:
    """What is found is claimed for a later row; what is claimed is found in a later row."""
    if comes_later:
        return FindingKind.RECORDS_REORDERED if went_later else FindingKind.RECORD_REMOVED
    return FindingKind.RECORD_INSERTED if went_later else FindingKind.RECORD_ALTERED
