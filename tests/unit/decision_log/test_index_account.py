"""Whoever takes a payment's record out of the index, or points the index elsewhere, is found out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.decision_log.index_account import IndexAccount
from services.decision_log.store import IndexRow, chain_key, stored_segment
from sluice_audit import (
    AuditLog,
    Finding,
    FindingKind,
    KnownKeys,
    MalformedRef,
    SegmentRef,
    SigningKey,
    StoredRef,
    new_signing_key,
    verify_log,
)
from sluice_kit.artifacts import canonical_json, open_store
from sluice_kit.config import SecretSource
from tests.unit.audit.conftest import ORIGIN
from tests.unit.audit.records import decision_record
from tests.unit.audit.tampering import SealedLog, sealed_log

Rows = list[IndexRow]


@pytest.fixture
def sealed(tmp_path: Path) -> SealedLog:
    """Leaves 0-19, 20-59, 60-69."""
    secrets = SecretSource(None, {"SLUICE_SECRET_AUDIT_SIGNING_KEY": new_signing_key()})
    key, store = SigningKey.from_secret(secrets), open_store(tmp_path / "artifacts")
    log = AuditLog.open(store, tmp_path / "nodes", key, ORIGIN)
    return sealed_log(log, store, tmp_path / "nodes", KnownKeys([key.public_pem]), 20, 40, 10)


def index_row(leaf: int, number: int) -> IndexRow:
    identity = decision_record(number)["identity"]
    return IndexRow(leaf, chain_key((identity["tenant"], identity["run_id"], identity["event_id"])))


def whole_index() -> Rows:
    return [index_row(number, number) for number in range(70)]


def findings(sealed: SealedLog, rows: Rows, segments: list[StoredRef] | None = None) -> list[Finding]:
    refs = sealed.refs if segments is None else segments
    account = IndexAccount(iter(sorted(rows)))
    report = verify_log(sealed.store, refs, sealed.heads, sealed.keys, origin=ORIGIN, beside=account)
    return list(report.findings)


def without(leaf: int) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if row.leaf != leaf]


def with_row(row: IndexRow) -> Callable[[Rows], Rows]:
    return lambda rows: [*rows, row]


def test_an_index_of_every_record_is_fine(sealed: SealedLog) -> None:
    assert findings(sealed, whole_index()) == []


@pytest.mark.parametrize("leaf", [0, 19, 20, 33, 69])
def test_a_record_that_is_no_longer_found_is_named_with_its_payment(sealed: SealedLog, leaf: int) -> None:
    (found,) = findings(sealed, without(leaf)(whole_index()))
    assert (found.kind, found.leaf) == (FindingKind.LOOKUP_ALTERED, leaf)
    assert found.row == leaf - next(ref.first_leaf for ref in reversed(sealed.refs) if ref.first_leaf <= leaf)
    assert decision_record(leaf)["identity"]["event_id"] in found.detail


@pytest.mark.parametrize(
    ("change", "leaf", "said"),
    [
        (lambda rows: [*without(33)(rows), index_row(33, 34)], 33, "under the key of another payment"),
        (with_row(index_row(33, 33)), 33, "2 times"),
        (with_row(index_row(70, 1)), 70, "1 rows of the index name leaves from 70 to 70"),
        (with_row(index_row(9_999, 33)), 9_999, "that no segment has"),
    ],
)
def test_a_row_that_is_of_no_record_is_named(
    sealed: SealedLog, change: Callable[[Rows], Rows], leaf: int, said: str
) -> None:
    (found,) = findings(sealed, change(whole_index()))
    assert (found.kind, found.leaf) == (FindingKind.LOOKUP_ALTERED, leaf)
    assert said in found.detail


def test_an_altered_record_is_not_held_against_the_index_as_well(sealed: SealedLog) -> None:
    records = sealed.records(1)
    records[5] = decision_record(500)
    sealed.put_records(1, records, same_hashes=True)
    assert [one.kind for one in findings(sealed, whole_index())] == [FindingKind.RECORD_ALTERED]


def test_of_an_emptied_index_the_first_hundred_records_of_a_segment_are_named(sealed: SealedLog) -> None:
    assert [one.leaf for one in findings(sealed, [])] == list(range(70))


def test_rows_of_a_segment_that_cannot_be_read_are_not_held_against_it(sealed: SealedLog) -> None:
    refs: list[StoredRef] = [sealed.refs[0], MalformedRef(20, 40, "bytes: -1"), sealed.refs[2]]
    kinds = {one.kind for one in findings(sealed, without(33)(whole_index()), refs)}
    assert kinds == {FindingKind.REFERENCE_ALTERED}
    sealed.path(1).unlink()
    assert {one.kind for one in findings(sealed, whole_index())} == {FindingKind.SEGMENT_MISSING}


@pytest.mark.parametrize("change", [{"bytes": -1}, {"bytes": "x"}, {"uri": None}, {"digest": 1}])
def test_a_stored_reference_that_is_none_is_told_by_its_wrong_field(
    sealed: SealedLog, change: dict[str, Any]
) -> None:
    fields = sealed.refs[1].locator.to_fields()
    row = {"first_leaf": 20, "records": 40, "locator": canonical_json(fields).decode()}
    assert stored_segment(row) == sealed.refs[1]
    assert isinstance(stored_segment(row), SegmentRef)
    found = stored_segment(row | {"locator": canonical_json(fields | change).decode()})
    assert isinstance(found, MalformedRef)
    assert found.problem.startswith(next(iter(change)))
    for other in ("null", "[]", "7", '"x"'):
        assert isinstance(stored_segment(row | {"locator": other}), MalformedRef)
