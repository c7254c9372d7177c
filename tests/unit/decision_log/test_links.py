"""Links are read by position; what is read is what the codec reads."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.decision_log.links import Kind, Link, Unreadable, link_reader
from services.decision_log.testing import HandMade
from sluice_contracts import Decoded, contract_for, decode

EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"
TYPES = {
    Kind.PAYMENT: "payment",
    Kind.RECEIPT: "receipt",
    Kind.SNAPSHOT: "feature_snapshot",
    Kind.DECISION: "decision",
    Kind.INTENT: "action_intent",
    Kind.OUTCOME: "action_outcome",
}


def expected(kind: Kind, fields: dict[str, Any]) -> tuple[Any, ...] | None:
    """(key, id, about, says) of a record, from its decoded fields."""
    payload = fields.get("payload", {})
    run = (fields["tenant"], fields["run_id"])
    match kind:
        case Kind.PAYMENT:
            return (*run, fields["event_id"]), fields["event_id"], "", ""
        case Kind.RECEIPT:
            if (payload["decision"], payload["subject_event_type"]) != ("ADMIT", "payment"):
                return None
            return (*run, payload["subject_event_id"]), fields["event_id"], "", ""
        case Kind.SNAPSHOT:
            return (*run, fields["event_id"]), fields["snapshot_hash"], "", ""
        case Kind.DECISION:
            used = payload["snapshot_hash"] or ""
            return (*run, payload["subject_event_id"]), fields["event_id"], "", used
        case Kind.INTENT:
            return (*run, payload["subject_event_id"]), fields["event_id"], "", ""
        case Kind.OUTCOME:
            return (
                (*run, payload["subject_event_id"]),
                fields["event_id"],
                payload["intent_event_id"],
                payload["outcome"],
            )


def assert_read(kind: Kind, value: bytes) -> None:
    content = decode(value)
    assert isinstance(content, Decoded)
    wanted = expected(kind, content.fields)
    link = link_reader(kind)(value)
    assert not isinstance(link, Unreadable)
    assert (None if link is None else (link.key, link.id, link.about, link.says)) == wanted
    if isinstance(link, Link) and kind in {Kind.PAYMENT, Kind.DECISION}:
        assert link.ts_utc == content.fields["ts_utc"]
    if isinstance(link, Link) and kind is Kind.SNAPSHOT:
        assert link.ts_utc == content.fields["as_of"]


@pytest.mark.parametrize("kind", Kind)
def test_the_examples_of_the_contracts_are_read_as_the_codec_reads_them(kind: Kind) -> None:
    for path in sorted((EXAMPLES / f"{TYPES[kind]}.v1").glob("*.bin")):
        assert_read(kind, path.read_bytes())


text = st.text("abcXYZ019_.:-", min_size=1, max_size=128)
sha = st.text("0123456789abcdef", min_size=64, max_size=64)
moment = st.one_of(st.integers(0, 300), st.integers(0, 253402300799999999))


@given(st.data(), st.sampled_from([Kind.PAYMENT, Kind.DECISION, Kind.INTENT, Kind.OUTCOME, Kind.SNAPSHOT]))
def test_whatever_stands_in_the_fields(data: st.DataObject, kind: Kind) -> None:
    message = dict(zip(Kind, HandMade("run-1", 1).whole(), strict=True))[kind]
    content = decode(message.value)
    assert isinstance(content, Decoded)
    fields = content.fields
    draw = data.draw
    fields |= {"tenant": draw(text), "run_id": draw(text), "event_id": draw(text)}
    if kind is Kind.SNAPSHOT:
        fields |= {
            "as_of": draw(moment),
            "snapshot_hash": draw(sha),
            "degraded": draw(st.lists(text, max_size=3)),
        }
    else:
        fields |= {
            "ts_utc": draw(moment),
            "seed": draw(st.none() | st.integers(-(2**63), 2**63 - 1)),
            "emitted_at_utc": draw(st.none() | moment),
            "producer": draw(text),
            "parent_event_id": draw(st.none() | text),
            "traceparent": draw(st.none() | st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01")),
        }
        fields["payload"]["customer_id"] = draw(text)
    if kind is Kind.DECISION:
        attribution = st.fixed_dictionaries(
            {
                "feature": text,
                "value": st.integers(-(2**63), 2**63 - 1),
                "contribution_ppm": st.integers(-9, 9),
            }
        )
        fields["payload"] |= {
            "subject_event_id": draw(text),
            "reason_codes": draw(st.lists(st.text("ABC_", min_size=1, max_size=9), max_size=4)),
            "score_ppm": draw(st.none() | st.integers(0, 10**6)),
            "attributions": draw(st.lists(attribution, max_size=4)),
            "bundle_id": draw(st.none() | text),
            "bundle_hash": draw(st.none() | sha),
            "policy_revision": draw(text),
            "feature_set_hash": draw(st.none() | sha),
            "snapshot_hash": draw(st.none() | sha),
            "graph_version": draw(st.none() | st.integers(-1, 2**63 - 1)),
            "graph_basis": draw(st.none() | sha),
            "posture": draw(st.sampled_from(["NORMAL", "DEGRADED_1", "DEGRADED_2", "FAIL_CLOSED"])),
            "posture_event_id": draw(st.none() | text),
        }
    assert_read(kind, contract_for(TYPES[kind]).encode(fields))


@given(st.binary(max_size=60), st.sampled_from(Kind), st.integers(0, 60))
def test_bytes_that_are_no_record_are_a_value_never_an_exception(junk: bytes, kind: Kind, kept: int) -> None:
    whole = dict(zip(Kind, HandMade("run-1", 1).whole(), strict=True))[kind].value
    for value in (junk, whole[:kept] + junk, whole[: len(whole) - kept - 1]):
        link = link_reader(kind)(value)
        assert link is None or isinstance(link, Link | Unreadable)
    assert isinstance(link_reader(kind)(None), Unreadable)


def test_receipts_of_other_things_and_refusals_are_passed_over() -> None:
    payment = HandMade("run-1", 1)
    read = link_reader(Kind.RECEIPT)
    assert [read(message.value) for message in payment.receipts_of_the_rest()] == [None] * 3
    for decision in ("DUPLICATE", "QUARANTINE"):
        assert read(payment.receipt(decision=decision).value) is None
    found = read(payment.receipt().value)
    assert isinstance(found, Link)
    assert found.key == ("default", "run-1", payment.event_id)
