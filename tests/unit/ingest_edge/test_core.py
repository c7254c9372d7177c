from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest_edge.core import (
    Framed,
    NotTaken,
    Rejected,
    Submission,
    Taken,
    batch_status,
    frame,
    micros_of,
    result_of,
    split_lines,
)
from sluice_contracts import Decoded, decode

PAYLOAD = {
    "payment_id": "p-1",
    "customer_id": "c-1",
    "terminal_id": "t-1",
    "amount_minor": 1999,
    "currency": "EUR",
}
EVENT = {
    "event_id": "e-1",
    "event_type": "payment",
    "ts_utc": "2026-01-31T12:00:00Z",
    "payload": PAYLOAD,
}
NOON = 1_769_860_800_000_000


def submission(**changes: Any) -> Submission:
    given: dict[str, Any] = {
        "principal": "partner_acme",
        "now": NOON + 5,
        "idempotency_key": None,
        "batch": False,
        "max_event_bytes": 10_000,
    }
    return Submission(**(given | changes))


def framed(event: Any, **changes: Any) -> Framed:
    found = frame(orjson.dumps(event), 1, submission(**changes))
    assert isinstance(found, Framed), found
    return found


def rejected(event: Any, **changes: Any) -> Rejected:
    raw = event if isinstance(event, bytes) else orjson.dumps(event)
    found = frame(raw, 1, submission(**changes))
    assert isinstance(found, Rejected), found
    return found


def fields_of(event: Framed) -> dict[str, Any]:
    decoded = decode(event.value)
    assert isinstance(decoded, Decoded)
    return decoded.fields


def test_an_outside_publisher_needs_to_know_very_little() -> None:
    fields = fields_of(framed(EVENT))
    assert fields["ts_utc"] == NOON
    assert (fields["tenant"], fields["run_id"], fields["scenario_id"]) == ("default", "standing", "standing")
    assert (fields["manifest_fingerprint"], fields["parameter_hash"]) == ("0" * 64, "0" * 64)
    assert fields["emitted_at_utc"] == NOON + 5


def test_the_producer_is_who_was_authenticated_whatever_the_event_says() -> None:
    assert fields_of(framed(EVENT | {"producer": "ingestion_gate"}))["producer"] == "partner_acme"


def test_what_the_publisher_says_wins_over_defaults() -> None:
    fields = fields_of(
        framed(EVENT | {"run_id": "r-9", "tenant": "acme", "ts_utc": NOON + 1}, tenant="other")
    )
    assert (fields["run_id"], fields["tenant"], fields["ts_utc"]) == ("r-9", "acme", NOON + 1)
    assert fields_of(framed(EVENT, tenant="other"))["tenant"] == "other"


def test_old_names_are_understood_at_the_edge() -> None:
    old = {
        "id": "e-1",
        "type": "payment",
        "ts": EVENT["ts_utc"],
        "data": PAYLOAD,
        "world_fingerprint": "f" * 64,
    }
    fields = fields_of(framed(old))
    assert (fields["event_id"], fields["ts_utc"]) == ("e-1", NOON)
    assert fields["manifest_fingerprint"] == "f" * 64


def test_two_names_of_one_field_with_different_values_are_refused() -> None:
    found = rejected(EVENT | {"ts": "2026-01-31T13:00:00Z"})
    assert (found.status, found.code) == (422, "ALIAS_CONFLICT")
    assert [item.path for item in found.errors] == ["ts"]


class TestEventId:
    def test_comes_from_the_idempotency_key_and_is_the_same_for_a_retry(self) -> None:
        bare = {name: value for name, value in EVENT.items() if name != "event_id"}
        first, again = (framed(bare, idempotency_key="k-1") for _ in range(2))
        assert first.event_id == again.event_id
        assert len(first.event_id) == 64
        assert first.event_id != framed(bare, idempotency_key="k-2").event_id
        assert first.event_id != framed(bare, idempotency_key="k-1", principal="other").event_id

    def test_differs_by_line_in_a_batch(self) -> None:
        bare = orjson.dumps({name: value for name, value in EVENT.items() if name != "event_id"})
        ids = set()
        for line in (1, 2):
            found = frame(bare, line, submission(idempotency_key="k", batch=True))
            assert isinstance(found, Framed)
            ids.add(found.event_id)
        assert len(ids) == 2

    def test_one_or_the_other_is_needed(self) -> None:
        found = rejected({name: value for name, value in EVENT.items() if name != "event_id"})
        assert (found.status, found.code) == (422, "NO_EVENT_ID")


@pytest.mark.parametrize(
    ("change", "path", "rule"),
    [
        ({"ts_utc": None}, "ts_utc", "type"),
        ({"ts_utc": "2026-01-31T12:00:00"}, "ts_utc", "type"),
        ({"ts_utc": "yesterday"}, "ts_utc", "type"),
        ({"event_id": "no spaces"}, "event_id", "pattern"),
        ({"payload": PAYLOAD | {"amount_minor": 19.99}}, "payload.amount_minor", "type"),
        ({"payload": PAYLOAD | {"amount_minor": -1}}, "payload.amount_minor", "minimum"),
        ({"payload": PAYLOAD | {"currency": "eur"}}, "payload.currency", "pattern"),
        ({"payload": PAYLOAD | {"colour": "red"}}, "payload.colour", "unknown"),
        ({"payload": [1]}, "payload", "type"),
        ({"event_type": "run_ready"}, "event_type", "lane"),
        ({"event_type": ["payment"]}, "event_type", "lane"),
        ({"schema_version": 2}, "event_type", "lane"),
        ({"nonsense": 1}, "nonsense", "unknown"),
    ],
)
def test_a_bad_event_is_refused_with_path_and_rule(change: dict[str, Any], path: str, rule: str) -> None:
    found = rejected(EVENT | change)
    assert found.status == 422
    assert (path, rule) in {(item.path, item.rule) for item in found.errors}


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, "INVALID_JSON"),
        (b"\xff", 400, "INVALID_JSON"),
        (b'{"a": NaN}', 400, "INVALID_JSON"),
        (b"[1, 2]", 422, "INVALID_EVENT"),
        (b" " * 10_001, 413, "EVENT_TOO_LARGE"),
    ],
)
def test_what_is_no_event_is_refused(raw: bytes, status: int, code: str) -> None:
    found = rejected(raw)
    assert (found.status, found.code) == (status, code)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
))  # fmt: skip
def test_any_json_is_framed_or_refused(value: Any) -> None:
    try:
        raw = orjson.dumps(value)
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        return
    assert isinstance(frame(raw, 1, submission(idempotency_key="k")), Framed | Rejected)
    event = EVENT | (value if isinstance(value, dict) else {"payload": value})
    assert isinstance(frame(orjson.dumps(event), 1, submission()), Framed | Rejected)


def test_times_with_any_zone_are_the_same_moment() -> None:
    assert micros_of("2026-01-31T14:00:00+02:00") == micros_of("2026-01-31T12:00:00Z") == NOON
    assert micros_of("2026-01-31T12:00:00.000001Z") == NOON + 1


def test_lines_keep_their_numbers() -> None:
    assert split_lines(b"a\n\n  \nb\r\n") == [(1, b"a"), (4, b"b\r")]


def receipt(decision: str) -> dict[str, Any]:
    return {"payload": {"decision": decision}}


def test_one_word_for_what_became_of_an_event() -> None:
    event = framed(EVENT)
    outcomes = [
        Taken(event, receipt("ADMIT")),
        Taken(event, receipt("DUPLICATE")),
        Taken(event, receipt("QUARANTINE")),
        Taken(event, None),
        NotTaken(event, ""),
        Rejected(1, 422, "X", ""),
    ]
    words = ["ADMITTED", "REPEATED", "QUARANTINED", "PENDING", "NOT_TAKEN", "REJECTED"]
    assert [result_of(outcome) for outcome in outcomes] == words


@pytest.mark.parametrize(
    ("results", "status"),
    [
        (["ADMITTED", "REJECTED", "QUARANTINED", "REPEATED"], 200),
        (["ADMITTED", "PENDING"], 202),
        (["ADMITTED", "NOT_TAKEN"], 202),
        (["REJECTED", "REJECTED"], 422),
        (["REJECTED", "NOT_TAKEN"], 503),
    ],
)
def test_status_of_a_batch(results: list[str], status: int) -> None:
    assert batch_status(results) == status
