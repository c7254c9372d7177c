"""Whoever alters history is found out, and the first altered record is named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluice_audit import (
    AuditLog,
    FindingKind,
    KnownKeys,
    MalformedRef,
    NodeFiles,
    SigningKey,
    TreeHead,
    leaf_hash,
    new_signing_key,
    segment_reading,
    verify_log,
)
from sluice_audit.segments import segment_bytes
from sluice_kit.artifacts import ArtifactStore, Locator, canonical_json
from sluice_kit.config import SecretSource
from tests.unit.audit.conftest import ORIGIN
from tests.unit.audit.records import decision_record, incomplete_record, outcome, reference, sha
from tests.unit.audit.tampering import SealedLog, sealed_log


@pytest.fixture
def sealed(log: AuditLog, store: ArtifactStore, tmp_path: Path, keys: KnownKeys) -> SealedLog:
    """Leaves 0-19, 20-59, 60-69."""
    return sealed_log(log, store, tmp_path / "nodes", keys, 20, 40, 10)


def hash_of(record: dict[str, Any]) -> str:
    return leaf_hash(canonical_json(record)).hex()


def kinds(sealed: SealedLog, *, indexed: bool = True) -> list[str]:
    return [finding.kind for finding in sealed.verify(indexed=indexed).findings]


@pytest.mark.parametrize("indexed", [True, False])
def test_an_untouched_log_is_proven_to_its_end(sealed: SealedLog, indexed: bool) -> None:
    report = sealed.verify(indexed=indexed)
    assert report.ok
    assert report.first is None
    assert (report.leaves, report.segments, report.heads, report.proven) == (70, 3, 3, 70)


def test_an_empty_log_is_fine(sealed: SealedLog) -> None:
    sealed.refs.clear()
    sealed.heads.clear()
    assert sealed.verify().ok


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("hide", [True, False])
@pytest.mark.parametrize(
    ("change", "group"),
    [
        ({"identity": decision_record(25)["identity"] | {"tenant": "other"}}, "identity"),
        ({"receipt": reference("receipt", 25) | {"offset": 26}}, "receipt"),
        ({"snapshot": {"hash": sha("another")}}, "snapshot"),
        ({"decision": reference("decision", 25) | {"digest": sha("another")}}, "decision"),
        ({"intents": []}, "intents"),
        ({"outcomes": [outcome(25, "DENIED")]}, "outcomes"),
        ({"chain": {"status": "COMPLETE", "missing": [], "corrects": sha("x")}}, "chain"),
    ],
)
def test_an_altered_record_is_named_with_its_field_group(
    sealed: SealedLog, change: dict[str, Any], group: str, indexed: bool, hide: bool
) -> None:
    altered = decision_record(25) | change
    records = sealed.records(1)
    records[5] = altered
    sealed.put_records(1, records, same_hashes=True, hide=hide)
    (found,) = sealed.verify(indexed=indexed).findings
    assert (found.kind, found.leaf, found.row) == (FindingKind.RECORD_ALTERED, 25, 5)
    assert found.segment == sealed.refs[1].locator.uri
    assert found.groups == (group,)
    assert (found.expected, found.found) == (hash_of(decision_record(25)), hash_of(altered))


@pytest.mark.parametrize("hide", [True, False])
def test_a_record_rewritten_with_its_hashes_is_told_by_the_leaf_index(sealed: SealedLog, hide: bool) -> None:
    records = sealed.records(1)
    records[5] = decision_record(25, outcomes=[outcome(25, "DENIED")])
    records[9] = incomplete_record(29, "outcomes")
    sealed.put_records(1, records, hide=hide)
    found = sealed.verify().findings
    assert [(one.kind, one.leaf, one.found) for one in found] == [
        (FindingKind.RECORD_ALTERED, 25, hash_of(records[5])),
        (FindingKind.RECORD_ALTERED, 29, hash_of(records[9])),
    ]
    assert "rewritten together with the checks" in str(found[0])


def test_without_a_leaf_index_the_heads_say_between_which_leaves(sealed: SealedLog) -> None:
    records = sealed.records(1)
    records[5] = decision_record(25, outcomes=[outcome(25, "DENIED")])
    sealed.put_records(1, records, hide=True)
    (found,) = sealed.verify(indexed=False).findings
    assert (found.kind, found.leaf) == (FindingKind.ROOT_MISMATCH, 20)
    assert "among the leaves 20 to 59" in found.detail
    assert "1 later heads" in found.detail
    assert found.expected == sealed.heads[1]["root"]


def test_with_a_forged_leaf_index_the_heads_still_say_so(sealed: SealedLog) -> None:
    records = sealed.records(1)
    records[5] = decision_record(25, outcomes=[outcome(25, "DENIED")])
    sealed.put_records(1, records, hide=True)
    sealed.put_index()
    report = sealed.verify()
    assert [(one.kind, one.leaf) for one in report.findings] == [(FindingKind.ROOT_MISMATCH, 20)]
    assert report.proven == 20


def test_a_leaf_index_forged_at_the_bottom_alone_narrows_it_down(sealed: SealedLog) -> None:
    records = sealed.records(1)
    records[20] = decision_record(40, outcomes=[outcome(40, "DENIED")])
    sealed.put_records(1, records, hide=True)
    sealed.put_node(0, 40, bytes.fromhex(hash_of(records[20])))
    first, last = sealed.verify().findings
    assert (first.kind, first.leaf, first.groups) == (FindingKind.INDEX_ALTERED, 32, ("level 4",))
    assert "leaves 32 to 47, or one of them" in first.detail
    assert last.kind is FindingKind.ROOT_MISMATCH


@pytest.mark.parametrize("hide", [True, False])
def test_a_removed_record_is_named(sealed: SealedLog, hide: bool) -> None:
    records = sealed.records(1)
    gone = records.pop(7)
    rows = sealed.refs[1].rows
    sealed.put_records(1, records, hide=hide)
    first = sealed.verify().first
    assert first is not None
    assert (first.kind, first.leaf, first.row) == (FindingKind.RECORD_REMOVED, 27, 7)
    assert first.expected == hash_of(gone)
    assert sealed.refs[1].rows == rows - hide


def test_an_inserted_record_is_named(sealed: SealedLog) -> None:
    records = sealed.records(1)
    records.insert(3, decision_record(1000))
    sealed.put_records(1, records)
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf, found.found) == (FindingKind.RECORD_INSERTED, 23, hash_of(records[3]))


def test_records_that_changed_places_are_named(sealed: SealedLog) -> None:
    records = sealed.records(2)
    records[4], records[6] = records[6], records[4]
    sealed.put_records(2, records, hide=True)
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf, found.row) == (FindingKind.RECORDS_REORDERED, 64, 4)


def test_the_last_records_of_a_segment_cannot_go(sealed: SealedLog) -> None:
    sealed.put_records(2, sealed.records(2)[:-3])
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf, found.row) == (FindingKind.RECORD_REMOVED, 67, 7)
    (found,) = sealed.verify(indexed=False).findings
    assert (found.kind, found.leaf, found.row) == (FindingKind.RECORD_REMOVED, 67, 7)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_record_cannot_be_added_behind_the_last(sealed: SealedLog, indexed: bool) -> None:
    sealed.put_records(2, [*sealed.records(2), decision_record(1000)])
    (found,) = sealed.verify(indexed=indexed).findings
    assert (found.kind, found.leaf, found.row) == (FindingKind.RECORD_INSERTED, 70, 10)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_segment_that_is_gone_is_missed(sealed: SealedLog, indexed: bool) -> None:
    sealed.path(1).unlink()
    report = sealed.verify(indexed=indexed)
    assert [(one.kind, one.leaf) for one in report.findings] == [(FindingKind.SEGMENT_MISSING, 20)]
    assert report.proven == (70 if indexed else 20)  # of the leaf index


@pytest.mark.parametrize("indexed", [True, False])
def test_a_segment_left_out_of_the_list_is_missed(sealed: SealedLog, indexed: bool) -> None:
    del sealed.refs[1]
    first = sealed.verify(indexed=indexed).first
    assert first is not None
    assert (first.kind, first.leaf) == (FindingKind.SEGMENT_MISPLACED, 20)


def test_two_segments_cannot_change_places(sealed: SealedLog) -> None:
    sealed.refs[0], sealed.refs[1] = sealed.refs[1], sealed.refs[0]
    first = sealed.verify().first
    assert first is not None
    assert (first.kind, first.leaf) == (FindingKind.SEGMENT_MISPLACED, 0)


def test_a_segment_that_says_of_itself_to_stand_elsewhere_is_told(sealed: SealedLog) -> None:
    sealed.put(1, segment_bytes(sealed.table(1), 60), hide=True)
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf) == (FindingKind.SEGMENT_MISPLACED, 20)
    assert "sealed as the segment from leaf 60 on" in found.detail


@pytest.mark.parametrize("keep", [0, 4, 500, 3000, -1, -20])
def test_a_truncated_segment_is_named(sealed: SealedLog, keep: int) -> None:
    sealed.put(1, sealed.path(1).read_bytes()[:keep])
    first = sealed.verify().first
    assert first is not None
    assert (first.kind, first.leaf) == (FindingKind.SEGMENT_UNREADABLE, 20)
    assert first.segment == sealed.refs[1].locator.uri


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"uri": "s3://evil/segment"},
        {"uri": "x"},
        {"uri": "artifact://dla/segments/../../registry/x"},
        {"digest": {"algo": "md5", "hash": "ab"}},
        {"bytes": 1},
        {"bytes": 1_000_000},
    ],
)
def test_an_altered_reference_is_named_and_the_rest_is_verified(
    sealed: SealedLog, change: dict[str, Any], indexed: bool
) -> None:
    altered = sealed.records(2)
    altered[3] = decision_record(500)
    sealed.put_records(2, altered, same_hashes=True)
    ref = sealed.refs[1]
    sealed.refs[1] = replace(ref, locator=Locator.load(ref.locator.to_fields() | change))
    report = sealed.verify(indexed=indexed)
    first, *rest = report.findings
    assert (first.kind, first.leaf) == (FindingKind.REFERENCE_ALTERED, 20)
    assert (FindingKind.RECORD_ALTERED, 63) in {(one.kind, one.leaf) for one in rest}


@pytest.mark.parametrize("indexed", [True, False])
def test_a_reference_that_is_none_is_named_and_the_rest_is_verified(sealed: SealedLog, indexed: bool) -> None:
    refs = [sealed.refs[0], MalformedRef(20, 40, "bytes: -1"), sealed.refs[2]]
    nodes = NodeFiles(sealed.folder, 70, read_only=True) if indexed else None
    report = verify_log(sealed.store, refs, sealed.heads, sealed.keys, origin=ORIGIN, nodes=nodes)
    assert [(one.kind, one.leaf) for one in report.findings] == [(FindingKind.REFERENCE_ALTERED, 20)]
    assert "bytes: -1" in str(report.first)
    assert (report.leaves, report.proven) == (70, 70 if indexed else 20)
    assert report.indexed == indexed


def test_a_log_cut_short_is_found_out_by_any_later_head(sealed: SealedLog) -> None:
    del sealed.refs[2]
    del sealed.heads[1]
    assert kinds(sealed) == [FindingKind.LOG_TRUNCATED]


def test_records_behind_the_last_head_are_told(sealed: SealedLog) -> None:
    del sealed.heads[2]
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf) == (FindingKind.UNSIGNED, 60)
    sealed.heads.clear()
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf) == (FindingKind.UNSIGNED, 0)


@pytest.mark.parametrize(("level", "number", "leaf"), [(0, 33, 33), (4, 2, 32)])
def test_an_altered_leaf_index_is_told_from_an_altered_record(
    sealed: SealedLog, level: int, number: int, leaf: int
) -> None:
    sealed.put_node(level, number, bytes(32))
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf, found.groups) == (FindingKind.INDEX_ALTERED, leaf, (f"level {level}",))
    assert found.found == bytes(32).hex()
    assert level or found.expected == hash_of(decision_record(33))


def test_an_altered_hash_beside_an_intact_record_is_told(sealed: SealedLog) -> None:
    records = sealed.records(1)
    other = [*records[:5], decision_record(99), *records[6:]]
    sealed.put_records(1, other)
    sealed.put_records(1, records, same_hashes=True)  # records as they were, hashes of `other`
    (found,) = sealed.verify(indexed=False).findings
    assert (found.kind, found.leaf, found.groups) == (FindingKind.RECORD_ALTERED, 25, ("leaf_hash",))
    assert (found.expected, found.found) == (hash_of(records[5]), hash_of(decision_record(99)))
    assert {one.groups for one in sealed.verify().findings} == {("leaf_hash",), ("group_checks",)}


def test_a_container_that_changed_around_intact_records_is_told_by_byte(sealed: SealedLog) -> None:
    data = bytearray(sealed.path(1).read_bytes())
    at = data.rindex(b"parquet-cpp-arrow")
    data[at] ^= 1
    sealed.put(1, bytes(data))
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf) == (FindingKind.CONTAINER_ALTERED, 20)
    assert f"the first altered byte is {at}" in found.detail


def test_a_writer_of_another_version_does_not_guess_the_byte(
    sealed: SealedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_reading, "segment_bytes", lambda *_: b"other options")
    sealed.put(1, sealed.path(1).read_bytes().replace(b"parquet-cpp-arrow", b"parquet-cpp-Arrow"))
    (found,) = sealed.verify().findings
    assert (found.kind, found.detail) == (FindingKind.CONTAINER_ALTERED, "every record in it is intact")


@pytest.mark.parametrize("name", ["size", "root", "ts_utc", "signature", "origin"])
def test_an_altered_head_is_named(sealed: SealedLog, name: str) -> None:
    value = sealed.heads[1][name]
    sealed.heads[1][name] = (
        value + 1 if isinstance(value, int) else "b" + value[1:] if value[0] != "b" else "c" + value[1:]
    )
    found = sealed.verify().findings
    assert [one.kind for one in found] == [FindingKind.HEAD_ALTERED]
    assert "head 1" in found[0].detail


def test_a_head_by_somebody_else_is_no_head(sealed: SealedLog, key: SigningKey) -> None:
    stranger = SigningKey.from_secret(SecretSource(None, {"SLUICE_SECRET_S": new_signing_key()}), "s")
    last = sealed.heads[2]
    head = TreeHead(ORIGIN, 70, bytes.fromhex(last["root"]), last["ts_utc"])
    sealed.heads[2] = stranger.sign(head).to_fields()
    assert kinds(sealed) == [FindingKind.HEAD_KEY_UNKNOWN, FindingKind.UNSIGNED]
    sealed.heads[2] = key.sign(TreeHead("sluice.decision_log/prod", 70, head.root, 1)).to_fields()
    assert kinds(sealed) == [FindingKind.HEAD_OF_ANOTHER_LOG, FindingKind.UNSIGNED]


def test_two_heads_of_one_size_are_a_fork(sealed: SealedLog, key: SigningKey) -> None:
    sealed.heads.append(key.sign(TreeHead(ORIGIN, 60, bytes(32), 1_800_000_000_000_000)).to_fields())
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf) == (FindingKind.FORK, 60)
    assert {found.expected, found.found} == {sealed.heads[1]["root"], bytes(32).hex()}


def test_the_same_head_signed_again_later_is_none(sealed: SealedLog, key: SigningKey) -> None:
    root = bytes.fromhex(sealed.heads[1]["root"])
    sealed.heads.append(key.sign(TreeHead(ORIGIN, 60, root, 1_800_000_000_000_000)).to_fields())
    assert sealed.verify().ok


def test_a_genuine_head_of_another_history_is_a_fork(sealed: SealedLog, key: SigningKey) -> None:
    sealed.heads.append(key.sign(TreeHead(ORIGIN, 45, bytes(32), 1_800_000_000_000_000)).to_fields())
    (found,) = sealed.verify().findings
    assert (found.kind, found.leaf) == (FindingKind.FORK, 45)


def test_the_first_of_many_findings_is_the_first_in_the_log(sealed: SealedLog) -> None:
    for segment, row in ((2, 3), (1, 30), (1, 8)):
        records = sealed.records(segment)
        records[row] = decision_record(500 + row)
        sealed.put_records(segment, records)
    assert [one.leaf for one in sealed.verify().findings] == [28, 50, 63]
