"""What was appended is sealed, signed, read back and proven; a crash anywhere costs nothing."""

from pathlib import Path
from typing import Any

import pytest

from sluice_audit import (
    AuditLog,
    LogDiverged,
    NodeFiles,
    NodesMissing,
    SegmentDamaged,
    SegmentRef,
    SigningKey,
    TreeHead,
    leaf_hash,
    read_record,
    read_records,
    rebuild_nodes,
    root_at,
)
from sluice_audit.segments import ROW_GROUP_ROWS
from sluice_kit.artifacts import ArtifactStore, DigestMismatch, StoreUnavailable, canonical_json
from tests.unit.audit import rfc6962
from tests.unit.audit.conftest import ORIGIN
from tests.unit.audit.records import decision_record

NOW = 1_700_000_000_000_000


def records(first: int, count: int) -> list[dict[str, Any]]:
    return [decision_record(first + at) for at in range(count)]


def test_what_was_appended_is_read_back_by_reference_and_proven_by_the_head(
    log: AuditLog, store: ArtifactStore
) -> None:
    everything = records(0, 2500)
    appended = log.append(everything[:2000])
    log.append(everything[2000:])
    assert (log.size, log.pending) == (0, 2500)
    sealed = log.seal(NOW)
    assert sealed is not None
    assert (log.size, log.pending) == (2500, 0)
    head = sealed.head.head
    assert head == TreeHead(ORIGIN, 2500, rfc6962.mth([canonical_json(one) for one in everything]), NOW)
    ref = SegmentRef.load(sealed.segment.to_fields())
    assert ref == sealed.segment
    for row in (0, 1, ROW_GROUP_ROWS - 1, ROW_GROUP_ROWS, 1999, 2499):
        stored = read_record(store, ref, row)
        assert stored.record == everything[row]
        assert stored.canonical == canonical_json(everything[row])
        assert stored.leaf_hash == leaf_hash(stored.canonical)
        assert log.prove(row).proves(stored.leaf_hash, head.root)
    assert appended.leaf_hashes[7] == leaf_hash(canonical_json(everything[7]))
    with pytest.raises(IndexError, match="2500 rows"):
        read_record(store, ref, 2500)


def test_heads_grow_and_are_consistent(log: AuditLog) -> None:
    assert log.seal(NOW) is None
    heads = []
    for count in (5, 1, 20):
        assert log.append(records(log.size, count)).first_leaf == log.size
        sealed = log.seal(NOW)
        assert sealed is not None
        heads.append(sealed.head.head)
    assert [head.size for head in heads] == [5, 6, 26]
    for old in heads:
        for new in heads:
            if old.size <= new.size:
                assert log.prove_consistency(old.size, new.size).proves(old.root, new.root)


def test_one_row_is_read_without_the_rest_of_the_file(log: AuditLog, store: ArtifactStore) -> None:
    log.append(records(0, 3 * ROW_GROUP_ROWS))
    sealed = log.seal(NOW)
    assert sealed is not None
    path = store.local_path(sealed.segment.locator)
    assert path is not None
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle - 2000 : middle + 2000] = bytes(4000)  # in the second of three row groups
    path.unlink()
    path.write_bytes(data)
    for row in (0, 2 * ROW_GROUP_ROWS):
        assert read_record(store, sealed.segment, row).record == decision_record(row)
    with pytest.raises(SegmentDamaged, match="row 1500 "):
        read_record(store, sealed.segment, 1500)


def test_a_record_is_read_from_a_store_without_files(
    log: AuditLog, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(records(0, 3))
    sealed = log.seal(NOW)
    assert sealed is not None
    path = store.local_path(sealed.segment.locator)
    assert path is not None
    monkeypatch.setattr(store, "local_path", lambda _: None)
    assert read_record(store, sealed.segment, 2).record == decision_record(2)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DigestMismatch):
        read_record(store, sealed.segment, 2)


def test_sealing_the_same_records_again_makes_the_same_artifact(
    store: ArtifactStore, key: SigningKey, tmp_path: Path
) -> None:
    made = []
    for name, batches in (("a", (2, 3)), ("b", (5,))):
        log = AuditLog.open(store, tmp_path / name, key, ORIGIN)
        for count in batches:
            log.append(records(log.pending, count))
        made.append(log.seal(NOW))
    assert made[0] == made[1]


def test_after_a_crash_before_the_commit_the_log_goes_on_from_what_was_committed(
    log: AuditLog, store: ArtifactStore, key: SigningKey, tmp_path: Path
) -> None:
    log.append(records(0, 40))
    committed = log.seal(NOW)
    assert committed is not None
    log.append(records(40, 30))
    assert log.seal(NOW) is not None  # never committed
    log.close()
    again = AuditLog.open(
        store, tmp_path / "nodes", key, ORIGIN, segments=[committed.segment], last_head=committed.head
    )
    assert again.size == 40
    again.append(records(100, 5))
    sealed = again.seal(NOW)
    assert sealed is not None
    expected = [canonical_json(one) for one in [*records(0, 40), *records(100, 5)]]
    assert sealed.head.head.root == rfc6962.mth(expected) == root_at(again.nodes, 45)


@pytest.mark.parametrize("damage", ["gone", "short", "wrong"])
def test_node_files_are_made_anew_from_the_segments(
    log: AuditLog, store: ArtifactStore, key: SigningKey, tmp_path: Path, damage: str
) -> None:
    sealed = []
    for count in (30, 30):
        log.append(records(log.size, count))
        sealed.append(log.seal(NOW))
    log.close()
    for file in (tmp_path / "nodes").iterdir():
        data = file.read_bytes()
        file.unlink()
        if damage != "gone":
            file.write_bytes(data[:-32] if damage == "short" else bytes(len(data)))
    segments = [one.segment for one in sealed if one is not None]
    assert sealed[-1] is not None
    again = AuditLog.open(
        store, tmp_path / "nodes", key, ORIGIN, segments=segments, last_head=sealed[-1].head
    )
    assert root_at(again.nodes, 60) == sealed[-1].head.head.root
    proof = again.prove(17)
    assert proof.proves(leaf_hash(canonical_json(decision_record(17))), sealed[-1].head.head.root)


def test_a_log_that_is_not_the_signed_one_is_not_appended_to(
    log: AuditLog, store: ArtifactStore, key: SigningKey, tmp_path: Path
) -> None:
    log.append(records(0, 4))
    one = log.seal(NOW)
    log.append(records(4, 4))
    two = log.seal(NOW)
    assert one is not None
    assert two is not None
    with pytest.raises(LogDiverged, match="4 leaves, its last head 8"):
        AuditLog.open(store, tmp_path / "nodes", key, ORIGIN, segments=[one.segment], last_head=two.head)
    other = key.sign(TreeHead(ORIGIN, 4, bytes(32), NOW))
    with pytest.raises(LogDiverged, match="do not have the root of the last head"):
        AuditLog.open(store, tmp_path / "nodes", key, ORIGIN, segments=[one.segment], last_head=other)
    path = store.local_path(one.segment.locator)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(DigestMismatch):
        rebuild_nodes(store, tmp_path / "elsewhere", [one.segment])


def test_a_seal_that_failed_can_be_repeated(
    log: AuditLog, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(records(0, 20))
    nodes = log.nodes

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(NodeFiles, "_write", staticmethod(full))
        with pytest.raises(OSError, match="No space left"):
            log.seal(NOW)
    with monkeypatch.context() as patch:
        patch.setattr(
            store, "put_content", lambda *_, **__: (_ for _ in ()).throw(StoreUnavailable("a", "b", "c"))
        )
        with pytest.raises(StoreUnavailable):
            log.seal(NOW)
    assert (log.size, log.pending) == (0, 20)
    sealed = log.seal(NOW)
    assert sealed is not None
    assert (
        sealed.head.head.root
        == root_at(nodes, 20)
        == rfc6962.mth([canonical_json(r) for r in records(0, 20)])
    )


def test_what_was_discarded_is_not_sealed(log: AuditLog) -> None:
    log.append(records(0, 2))
    log.discard()
    assert log.append(records(7, 1)).first_leaf == 0
    sealed = log.seal(NOW)
    assert sealed is not None
    assert sealed.head.head.root == leaf_hash(canonical_json(decision_record(7)))


def test_records_are_read_in_the_order_asked_for_each_part_once(log: AuditLog, store: ArtifactStore) -> None:
    log.append([decision_record(number) for number in range(2_500)])
    sealed = log.seal(1)
    assert sealed is not None
    rows = [2_400, 3, 1_030, 3]
    found = read_records(store, sealed.segment, rows)
    assert [one.record for one in found] == [decision_record(row) for row in rows]
    with pytest.raises(IndexError):
        read_records(store, sealed.segment, [0, 2_500])


def test_node_files_that_are_only_read_are_never_made_or_changed(log: AuditLog, tmp_path: Path) -> None:
    log.append([decision_record(number) for number in range(20)])
    log.seal(1)
    folder = tmp_path / "nodes"
    (folder / "level_04.nodes").unlink()
    with pytest.raises(NodesMissing, match="level_04"):
        NodeFiles(folder, 20, read_only=True)
    assert [file.name for file in folder.iterdir()] == ["level_00.nodes"]
    (folder / "level_00.nodes").chmod(0o444)
    nodes = NodeFiles(folder, 15, read_only=True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        nodes.append([[bytes(32)]])
    with pytest.raises(NodesMissing):
        NodeFiles(tmp_path / "nowhere", 1, read_only=True)
    assert not (tmp_path / "nowhere").exists()
