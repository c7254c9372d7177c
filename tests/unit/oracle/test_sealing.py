from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice_kit.artifacts import ArtifactStore, DigestMismatch, SealConflict
from sluice_oracle import (
    DraftError,
    Verdict,
    World,
    WorldError,
    WorldNotSealed,
    gate_problems,
    load_world,
    read_marker,
    seal_world,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def test_a_sealed_world_is_found_by_uri_and_by_manifest(small_world: World, oracle: ArtifactStore) -> None:
    manifest = small_world.manifest
    assert small_world.uri == (
        f"oracle://worlds/seed=5/parameter_hash={manifest.parameter_hash}"
        f"/manifest_fingerprint={manifest.manifest_fingerprint}/scenario_id=baseline"
    )
    assert load_world(oracle, small_world.uri) == small_world
    assert load_world(oracle, small_world.manifest_locator) == small_world
    assert {output.role for output in manifest.outputs} == {"business_traffic", "context", "truth"}
    assert {gate.verdict for gate in manifest.gates} == {Verdict.PASS}


def test_the_same_bytes_again_are_a_no_op_and_keep_the_first_time(
    small_world: World, small_draft: Path, oracle: ArtifactStore
) -> None:
    assert seal_world(small_draft, oracle, LATER) == small_world
    assert read_marker(oracle, small_world.uri).created_at == AT.isoformat()


def test_the_moment_of_sealing_is_in_no_hash(small_world: World, small_draft: Path, tmp_path: Path) -> None:
    from sluice_kit.artifacts import open_store

    elsewhere = seal_world(small_draft, open_store(tmp_path / "elsewhere", "oracle"), LATER)
    assert isinstance(elsewhere, World)
    assert elsewhere.manifest_locator == small_world.manifest_locator


def test_other_bytes_of_the_same_identity_are_a_conflict(
    draft_of: Any, rows_of: Any, oracle: ArtifactStore
) -> None:
    first = seal_world(draft_of([rows_of(1), rows_of(2)], name="a"), oracle, AT)
    before = oracle.list("worlds")
    second = seal_world(draft_of([rows_of(1), rows_of(3)], name="b"), oracle, AT)
    assert oracle.list("worlds") == before
    assert isinstance(second, SealConflict)
    assert second.uri.startswith("oracle://claims/by-hand/1/")
    assert isinstance(first, World)
    assert load_world(oracle, first.uri) == first


def test_a_world_whose_sealing_was_cut_off_is_not_one_until_it_is_sealed_again(
    small_world: World, small_draft: Path, oracle: ArtifactStore
) -> None:
    folder = oracle.local_path(oracle.path_of(small_world.uri))
    assert folder is not None
    (folder / "_SEALED.json").unlink()
    (folder / "manifest.json").unlink()
    with pytest.raises(WorldNotSealed, match=r"_SEALED\.json is missing"):
        load_world(oracle, small_world.uri)
    assert seal_world(small_draft, oracle, AT) == small_world


def test_a_changed_manifest_is_an_error(small_world: World, oracle: ArtifactStore) -> None:
    path = oracle.local_path(small_world.manifest_locator)
    assert path is not None
    content = orjson.loads(path.read_bytes())
    content["scenario_id"] = "other"
    path.chmod(0o644)
    path.write_bytes(orjson.dumps(content))
    with pytest.raises(DigestMismatch):
        load_world(oracle, small_world.uri)
    forged = oracle.locate(oracle.path_of(small_world.manifest_locator.uri))
    with pytest.raises(DigestMismatch):  # even with a fitting locator: the fingerprint is recomputed
        load_world(oracle, forged)


def test_other_documents_are_not_worlds(oracle: ArtifactStore) -> None:
    stray = oracle.seal("worlds/seed=1/manifest.json", b"[]")
    assert not isinstance(stray, SealConflict)
    with pytest.raises(WorldError, match="no manifest of format 1"):
        load_world(oracle, stray)


def test_gate_receipts_name_what_they_passed(small_world: World) -> None:
    for gate in small_world.manifest.gates:
        receipt = orjson.loads(small_world.store.read(small_world.receipt_locator(gate.gate_id)))
        assert receipt["verdict"] == "PASS"
        assert gate.evidence.path == f"receipts/engine/{gate.gate_id}/_passed.flag"
        assert len(receipt["digest"]["hash"]) == 64


def _checks(world: Any, gate_id: str) -> dict[str, str]:
    assert isinstance(world, World)
    [gate] = [gate for gate in world.manifest.gates if gate.gate_id == gate_id]
    assert gate.verdict is Verdict.FAIL
    assert gate.evidence.path.endswith("/_failed.flag")
    return {check.name: check.detail for check in gate.checks if not check.passed}


def test_traffic_out_of_order_fails(draft_of: Any, rows_of: Any, oracle: ArtifactStore) -> None:
    world = seal_world(draft_of([rows_of(1), rows_of(3), rows_of(2)]), oracle, AT)
    assert _checks(world, "payments.integrity") == {"time_order": "row 2 is out of order"}
    assert isinstance(world, World)
    assert gate_problems(world.manifest, ["payments.integrity"], ["payments"]) == (
        "required gate payments.integrity is FAIL",
        "gate payments.integrity on payments is FAIL",
    )


def test_ties_must_be_in_key_order(draft_of: Any, rows_of: Any, oracle: ArtifactStore) -> None:
    tied = [rows_of(2), rows_of(1, ts_utc=rows_of(2)["ts_utc"])]
    world = seal_world(draft_of(tied), oracle, AT)
    assert "time_order" in _checks(world, "payments.integrity")


def test_a_repeated_key_fails(draft_of: Any, rows_of: Any, oracle: ArtifactStore) -> None:
    rows = [rows_of(number) for number in range(2000)]
    rows.append(rows_of(3000, row_key="P000042"))
    world = seal_world(draft_of(rows), oracle, AT)
    assert _checks(world, "payments.integrity") == {"primary_key": "'P000042' occurs twice"}


def test_values_outside_of_the_contract_fail(draft_of: Any, rows_of: Any, oracle: ArtifactStore) -> None:
    rows = [rows_of(1, amount_minor=-1), rows_of(2, currency="eur"), rows_of(3, channel="fax"), rows_of(4)]
    found = _checks(seal_world(draft_of(rows), oracle, AT), "payments.integrity")
    assert found == {
        "contract": "amount_minor: range (1 rows), channel: format (1 rows), currency: format (1 rows)"
    }


def test_a_label_without_its_payment_fails(
    draft_of: Any, rows_of: Any, label_of: Any, oracle: ArtifactStore
) -> None:
    world = seal_world(draft_of([rows_of(1)], labels=[label_of(1), label_of(2)]), oracle, AT)
    assert _checks(world, "labels.integrity") == {"references.row_key": "1 without payments"}


def test_fraud_outside_of_its_corridor_fails(
    draft_of: Any, rows_of: Any, label_of: Any, oracle: ArtifactStore
) -> None:
    rows, labels = [rows_of(n) for n in range(10)], [label_of(n, is_fraud=n < 5) for n in range(10)]
    world = seal_world(draft_of(rows, labels, corridors={"labels": (0.0, 0.1)}), oracle, AT)
    assert _checks(world, "labels.corridor") == {
        "fraud_share": "5 of 10 rows (50.0000%), allowed 0.0000% to 10.0000%"
    }


def test_gate_problems_names_unknown_gates_and_outputs(small_world: World) -> None:
    manifest = small_world.manifest
    assert gate_problems(manifest, ["labels.corridor"], ["payments", "labels"]) == ()
    problems = gate_problems(manifest, ["nope"], ["ghost"])
    assert [problem.split(";")[0] for problem in problems] == [
        "required gate nope is unknown",
        "output ghost is unknown",
    ]


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda folder: (folder / "world.json").unlink(), "world.json is missing"),
        (lambda folder: (folder / "payments/part-00000.parquet").unlink(), "which does not exist"),
        (lambda folder: (folder / "world.json").write_text('{"engine": 1}'), "world.json"),
        (
            lambda folder: (folder / "world.json").write_bytes(
                (folder / "world.json").read_bytes().replace(b"payments/part", b"../payments/part")
            ),
            "leaves the world's folder",
        ),
    ],
)
def test_a_folder_that_is_no_draft_is_explained(
    break_it: Any, says: str, draft_of: Any, rows_of: Any, oracle: ArtifactStore
) -> None:
    folder = draft_of([rows_of(1)])
    break_it(folder)
    with pytest.raises(DraftError, match=says):
        seal_world(folder, oracle, AT)
