"""Old names are turned into ours at an edge, and two answers to one question are never chosen between."""

from sluice_contracts import CONTRACTS
from sluice_contracts.aliases import ENVELOPE_ALIASES, AliasConflict, canonical_names


def test_old_names_become_canonical_and_others_stay() -> None:
    fields = {"ts": 5, "world_fingerprint": "w", "run_id": "r", "payload": {"ts": 1}, "unheard_of": 2}
    renamed, conflicts = canonical_names(fields)
    assert renamed == {
        "ts_utc": 5,
        "manifest_fingerprint": "w",
        "run_id": "r",
        "payload": {"ts": 1},
        "unheard_of": 2,
    }
    assert conflicts == ()


def test_two_names_with_one_value_agree() -> None:
    assert canonical_names({"ts": 5, "ts_utc": 5}) == ({"ts_utc": 5}, ())
    assert canonical_names({"ts": 5, "timestamp": 5}) == ({"ts_utc": 5}, ())


def test_two_names_with_two_values_are_a_conflict() -> None:
    assert canonical_names({"ts": 5, "ts_utc": 6}) == ({"ts_utc": 6}, (AliasConflict("ts", "ts_utc"),))
    assert canonical_names({"ts_utc": 6, "ts": 5})[1] == (AliasConflict("ts", "ts_utc"),)
    assert canonical_names({"ts": 5, "timestamp": 6})[1] == (AliasConflict("timestamp", "ts"),)


def test_the_table_leads_to_fields_of_the_envelope_and_never_from_one() -> None:
    envelope = {field["name"] for field in CONTRACTS["payment", 1].schema["fields"]}
    assert set(ENVELOPE_ALIASES.values()) <= envelope
    assert not set(ENVELOPE_ALIASES) & envelope
