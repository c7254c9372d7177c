"""No byte of a sealed log can change unnoticed: every one of a small log is changed, one after the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice_audit import AuditLog, FindingKind, KnownKeys
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


@pytest.mark.parametrize("flip", FLIPS)
def test_of_a_segment(smallest: SealedLog, flip: int) -> None:
    whole = smallest.path(0).read_bytes()
    for at, data in changed(whole, flip):
        smallest.put(0, data)
        report = smallest.verify()
        assert not report.ok, f"byte {at} of {len(whole)}"
        assert {finding.segment for finding in report.findings} == {smallest.refs[0].locator.uri}, at
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
