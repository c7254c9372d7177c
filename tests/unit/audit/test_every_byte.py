"""No byte of a sealed log can change unnoticed: every one of a small log is changed, one after the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from sluice_audit import AuditLog, Finding, FindingKind, KnownKeys
from sluice_audit.segment_blocks import SegmentBlocks
from sluice_audit.segment_files import SegmentFile
from sluice_kit.artifacts import ArtifactStore
from tests.unit.audit.tampering import SealedLog, sealed_log

FLIPS = (0x01, 0x80)


@pytest.fixture
def sealed(log: AuditLog, store: ArtifactStore, tmp_path: Path, keys: KnownKeys) -> SealedLog:
    return sealed_log(log, store, tmp_path / "nodes", keys, 17, 3)


@pytest.fixture
def smallest(log: AuditLog, store: ArtifactStore, tmp_path: Path, keys: KnownKeys) -> SealedLog:
    return sealed_log(log, store, tmp_path / "nodes", keys, 2)


def changed(data: bytes, flip: int) -> Iterator[tuple[int, bytes]]:
    for at in range(len(data)):
        yield at, data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]


def names_the_byte(finding: Finding, at: int, whole: bytes) -> bool:
    """The byte itself where it can be known, else its block; the footer only where it says so."""
    assert finding.byte_range is not None
    first, end = finding.byte_range
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    if first <= at < end:
        opened = (first, end) != (0, len(whole))
        if opened and at < footer:  # never more than the columns of a row group
            return end <= footer
        return opened or finding.kind is FindingKind.SEGMENT_UNREADABLE
    return at >= footer and f"or the footer, bytes {footer} to {len(whole) - 1}" in finding.detail


def test_of_a_record_names_the_part_of_the_file_that_its_field_group_has(smallest: SealedLog) -> None:
    whole = smallest.path(0).read_bytes()
    with SegmentFile(pa.BufferReader(whole)) as file:
        blocks = SegmentBlocks.of(whole, file.metadata)
    named = 0
    for group, (first, end) in blocks.columns[0].items():
        for at in range(first, end):
            smallest.put(0, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            found = smallest.verify().findings[0]
            if found.kind is FindingKind.RECORD_ALTERED and found.groups == (group,):
                assert found.byte_range == (first, end)
                named += 1
    assert named > 0


@pytest.mark.parametrize("flip", FLIPS)
def test_of_a_segment(smallest: SealedLog, flip: int) -> None:
    whole = smallest.path(0).read_bytes()
    for at, data in changed(whole, flip):
        smallest.put(0, data)
        report = smallest.verify()
        assert not report.ok, f"byte {at} of {len(whole)}"
        assert {finding.segment for finding in report.findings} == {smallest.refs[0].locator.uri}, at
        assert names_the_byte(report.findings[0], at, whole), f"byte {at}: {report.findings[0]}"
    smallest.put(0, whole)
    assert smallest.verify().ok


def test_of_a_segment_whose_reference_was_altered_with_it(smallest: SealedLog) -> None:
    """The digest does not tell any more: what is left unseen changes no record."""
    whole, records, ref = smallest.path(0).read_bytes(), smallest.records(0), smallest.refs[0]
    unseen = 0
    for at, data in changed(whole, FLIPS[0]):
        smallest.put(0, data, hide=True)
        if smallest.verify().ok:
            assert smallest.records(0) == records, f"byte {at} of {len(whole)}"
            unseen += 1
        smallest.refs[0] = ref
    assert 0 < unseen < len(whole)


@pytest.mark.parametrize("flip", FLIPS)
def test_of_the_leaf_index(sealed: SealedLog, flip: int) -> None:
    for level in (0, 4):
        whole = sealed.index_file(level).read_bytes()
        for at, data in changed(whole, flip):
            sealed.index_file(level).write_bytes(data)
            (found,) = sealed.verify().findings
            assert found.kind is FindingKind.INDEX_ALTERED
            assert found.leaf == at // 32 << level
            assert found.groups == (f"level {level}",)
        sealed.index_file(level).write_bytes(whole)
    assert sealed.verify().ok


@pytest.mark.parametrize("flip", FLIPS)
def test_of_a_head(sealed: SealedLog, flip: int) -> None:
    whole = orjson.dumps(sealed.heads[1])
    for at, data in changed(whole, flip):
        fields: Any
        try:
            fields = orjson.loads(data)
        except ValueError:
            fields = {}
        sealed.heads[1] = fields
        report = sealed.verify()
        assert not report.ok, f"byte {at} of {len(whole)}"
        assert report.first is not None
        assert report.first.kind in {FindingKind.HEAD_ALTERED, FindingKind.HEAD_KEY_UNKNOWN}
