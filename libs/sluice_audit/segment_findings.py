"""What a reading of one segment says, held against the leaf hashes that the log claims for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sluice_audit.differences import Difference, differences
from sluice_audit.findings import MOST_FINDINGS, Finding, FindingKind
from sluice_audit.record_rows import GROUP_CHECKS, LEAF_HASH
from sluice_audit.segment_reading import SegmentReading


def file_findings(reading: SegmentReading) -> Iterator[Finding]:
    """What cannot be read, and a file that says of itself that it stands elsewhere."""
    ref, uri, digest = reading.ref, reading.ref.locator.uri, str(reading.ref.locator.digest)
    if reading.reference_problem:
        detail = f"the stored reference: {reading.reference_problem}"
        yield Finding(FindingKind.REFERENCE_ALTERED, ref.first_leaf, uri, detail=detail)
    elif reading.found is None:
        yield Finding(FindingKind.SEGMENT_MISSING, ref.first_leaf, uri, expected=digest)
    for damage in reading.damages:
        yield Finding(
            FindingKind.SEGMENT_UNREADABLE,
            ref.first_leaf + damage.row,
            uri,
            damage.row,
            damage.groups,
            digest,
            reading.found,
            f"from this row on: {damage.problem}{_or_footer(reading)}",
            reading.holding(damage.row, damage.groups),
        )
    if reading.intact and reading.stated_first_leaf != ref.first_leaf:
        detail = f"it was sealed as the segment from leaf {reading.stated_first_leaf} on"
        place = None if reading.blocks is None else reading.blocks.footer
        yield Finding(FindingKind.SEGMENT_MISPLACED, ref.first_leaf, uri, detail=detail, byte_range=place)


def record_differences(reading: SegmentReading, claimed: Sequence[bytes]) -> list[Difference]:
    """Where records are not as claimed."""
    if reading.found is None or claimed == reading.leaves:
        return []
    return list(differences(claimed, reading.leaves))


def count_findings(reading: SegmentReading) -> Iterator[Finding]:
    """More or fewer rows than the segment was sealed with; which ones, only a leaf index can tell."""
    ref, count = reading.ref, len(reading.leaves)
    if reading.found is None or reading.damages or count == ref.rows:
        return
    kind = FindingKind.RECORD_REMOVED if count < ref.rows else FindingKind.RECORD_INSERTED
    row = min(count, ref.rows)
    detail = f"{count} rows instead of {ref.rows}; at this row or before it"
    place = reading.holding(row)
    yield Finding(kind, ref.first_leaf + row, ref.locator.uri, row, detail=detail, byte_range=place)


def record_finding(reading: SegmentReading, difference: Difference) -> Finding:
    """A record that is not as claimed, with the field groups that are altered as far as their checks tell."""
    detail = ""
    groups = reading.wrong_checks.get(difference.row, ())
    if difference.kind is not FindingKind.RECORD_ALTERED:
        groups = ()
        detail = "all rows after this one have moved"
    elif not groups:
        detail = "rewritten together with the checks of its field groups"
    return Finding(
        difference.kind,
        reading.ref.first_leaf + difference.row,
        reading.ref.locator.uri,
        difference.row,
        groups,
        None if difference.claimed is None else difference.claimed.hex(),
        None if difference.content is None else difference.content.hex(),
        detail,
        reading.holding(difference.row, groups),
    )


def container_findings(reading: SegmentReading) -> Iterator[Finding]:
    """Of a segment whose records are all as claimed: what else in its file is not as it was sealed."""
    ref, uri = reading.ref, reading.ref.locator.uri
    beside = [*_leaf_column(reading), *_check_column(reading)]
    yield from beside[:MOST_FINDINGS]
    if beside or reading.intact:
        return
    at = reading.first_altered_byte
    yield Finding(
        FindingKind.CONTAINER_ALTERED,
        ref.first_leaf,
        uri,
        expected=str(ref.locator.digest),
        found=reading.found,
        detail=f"every record in it is intact{_exactly(reading)}",
        byte_range=(0, reading.size) if at is None else (at, at + 1),
    )


def _or_footer(reading: SegmentReading) -> str:
    """A block may be unreadable because of what the footer says of it."""
    if reading.blocks is None or not reading.blocks.consistent:
        return ""
    first, end = reading.blocks.footer
    return f" (or the footer, bytes {first} to {end - 1}, says the wrong thing of it)"


def _exactly(reading: SegmentReading) -> str:
    at = reading.first_altered_byte
    return "" if at is None else f"; the first altered byte is {at}"


def _leaf_column(reading: SegmentReading) -> Iterator[Finding]:
    if reading.columns == reading.leaves:
        return
    for row, (leaf, beside) in enumerate(zip(reading.leaves, reading.columns, strict=True)):
        if leaf is not None and leaf != beside:
            yield Finding(
                FindingKind.RECORD_ALTERED,
                reading.ref.first_leaf + row,
                reading.ref.locator.uri,
                row,
                (LEAF_HASH,),
                leaf.hex(),
                beside.hex(),
                f"only the hash beside the record; the record itself is intact{_exactly(reading)}",
                reading.holding(row, (LEAF_HASH,)),
            )


def _check_column(reading: SegmentReading) -> Iterator[Finding]:
    for row, groups in reading.wrong_checks.items():
        yield Finding(
            FindingKind.RECORD_ALTERED,
            reading.ref.first_leaf + row,
            reading.ref.locator.uri,
            row,
            (GROUP_CHECKS,),
            detail=f"only the check of {', '.join(groups)}; the record itself is intact{_exactly(reading)}",
            byte_range=reading.holding(row, (GROUP_CHECKS,)),
        )
