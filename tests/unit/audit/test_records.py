"""A record's hash is that of its canonical JSON; what has not the stated form is refused."""

import string
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_audit import LINKS, AuditLog, RecordInvalid, leaf_hash
from sluice_audit.decision_record import contradiction
from sluice_audit.record_rows import RecordRows
from sluice_audit.segment_files import SegmentFile
from sluice_audit.segments import segment_bytes
from sluice_kit.artifacts import canonical_json
from tests.unit.audit.records import decision_record, incomplete_record, outcome, reference, sha

texts = st.text(string.ascii_letters + string.digits + "_.:-", min_size=1, max_size=20)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
counts = st.integers(0, 2**63 - 1)
references = st.fixed_dictionaries(
    {"id": texts, "topic": texts, "partition": st.integers(0, 2**31 - 1), "offset": counts, "digest": digests}
)
outcomes = st.builds(
    dict,
    references,
    intent_id=texts,
    outcome=st.sampled_from(["EXECUTED", "DENIED", "FAILED", "UNCERTAIN"]),
)


@st.composite
def decision_records(draw: st.DrawFn) -> dict[str, Any]:
    missing = draw(st.lists(st.sampled_from(LINKS), unique=True))
    return {
        "identity": {
            "schema_version": 1,
            "event_id": draw(texts),
            "tenant": draw(texts),
            "run_id": draw(texts),
            "ts_utc": draw(st.integers(0, 253_402_300_799_999_999)),
        },
        "receipt": None if "receipt" in missing else draw(references),
        "snapshot": None if "snapshot" in missing else {"hash": draw(digests)},
        "decision": None if "decision" in missing else draw(references),
        "intents": draw(st.lists(references, max_size=3)),
        "outcomes": draw(st.lists(outcomes, max_size=3)),
        "chain": {
            "status": "INCOMPLETE" if missing else "COMPLETE",
            "missing": missing,
            "corrects": draw(st.none() | digests),
        },
    }


@given(st.lists(decision_records(), min_size=1, max_size=12))
@settings(deadline=None)
def test_a_leaf_hashes_the_records_canonical_json(records: list[dict[str, Any]]) -> None:
    rows = RecordRows.of_records(records)
    assert rows.leaves == [leaf_hash(canonical_json(record)) for record in records]
    assert [rows.record(row) for row in range(len(rows))] == records
    stored = rows.table()
    with SegmentFile(pa.BufferReader(segment_bytes(stored, 0))) as file:
        (part,) = file.read_all()
    assert part.rows.leaves == rows.leaves
    assert part.leaf_hashes == b"".join(rows.leaves)
    assert part.group_checks == part.rows.checks() == rows.checks()
    assert [part.rows.record(row) for row in range(len(rows))] == records


def identity(**changes: Any) -> dict[str, Any]:
    return decision_record(1)["identity"] | changes


@pytest.mark.parametrize(
    ("change", "path", "problem"),
    [
        ({"identity": identity(event_id='x"')}, "identity.event_id", "a text of A-Z"),
        ({"identity": identity(event_id="é")}, "identity.event_id", "a text of"),
        ({"identity": identity(event_id="")}, "identity.event_id", "a text of"),
        ({"identity": identity(event_id="x\n")}, "identity.event_id", "a text of"),
        ({"identity": identity(event_id=None)}, "identity.event_id", "a text of"),
        ({"identity": identity(event_id=b"x")}, "identity.event_id", "a text of"),
        ({"identity": identity(ts_utc=1.0)}, "identity.ts_utc", "a whole number"),
        ({"identity": identity(ts_utc=True)}, "identity.ts_utc", "a whole number"),
        ({"identity": identity(ts_utc=-1)}, "identity.ts_utc", "a whole number"),
        ({"identity": identity(ts_utc=2**64)}, "identity.ts_utc", "a whole number"),
        ({"identity": identity(schema_version=2)}, "identity.schema_version", "the number 1 is wanted"),
        ({"identity": identity(more=1)}, "identity", "a dict of event_id, run_id"),
        ({"identity": None}, "identity", "a dict of"),
        ({"receipt": reference("receipt", 1) | {"digest": "AB" * 32}}, "receipt.digest", "lowercase hex"),
        ({"receipt": reference("receipt", 1) | {"digest": "ab" * 31}}, "receipt.digest", "64 lowercase"),
        ({"receipt": {}}, "receipt", "a dict of"),
        ({"receipt": None}, "chain", "receipt is None"),
        ({"intents": None}, "intents", "a list is wanted"),
        ({"intents": [reference("i", 1), None]}, r"intents\[1\]", "a dict of"),
        ({"outcomes": [outcome(1, "DONE")]}, r"outcomes\[0\].outcome", "one of EXECUTED, DENIED"),
        ({"snapshot": {"digest": sha(1)}}, "snapshot", "a dict of hash"),
        (
            {"chain": {"status": "COMPLETE", "missing": ["intents"], "corrects": None}},
            "chain",
            "COMPLETE with",
        ),
        ({"chain": {"status": "INCOMPLETE", "missing": [], "corrects": None}}, "chain", "INCOMPLETE with"),
        (
            {"chain": {"status": "INCOMPLETE", "missing": ["receipt"], "corrects": None}},
            "chain",
            "receipt is there, and among",
        ),
        (
            {"chain": {"status": "INCOMPLETE", "missing": ["intents", "intents"], "corrects": None}},
            "chain",
            "name one twice",
        ),
        (
            {"chain": {"status": "COMPLETE", "missing": ["luck"], "corrects": None}},
            r"chain.missing\[0\]",
            "one of",
        ),
        ({"chain": {"status": "COMPLETE", "missing": [], "corrects": "x"}}, "chain.corrects", "sha256"),
        ({"more": None}, "as a whole", "a dict of chain, decision"),
    ],
)
def test_a_record_of_another_form_is_refused_by_row_and_field(
    log: AuditLog, change: dict[str, Any], path: str, problem: str
) -> None:
    records = [decision_record(0), decision_record(1), decision_record(2) | change, decision_record(3)]
    with pytest.raises(RecordInvalid, match=rf"record 2 of the batch, {path}: .*{problem}"):
        log.append(records)
    assert log.pending == 0
    assert log.append(records[:2]).first_leaf == 0


def test_an_incomplete_chain_names_what_is_missing_and_is_corrected_later(log: AuditLog) -> None:
    first = incomplete_record(1, "decision", "intents", "outcomes")
    hashes = log.append([first]).leaf_hashes
    later = decision_record(1, chain={"status": "COMPLETE", "missing": [], "corrects": hashes[0].hex()})
    assert contradiction(first) == contradiction(later) == ""
    assert log.append([later]).first_leaf == 1
