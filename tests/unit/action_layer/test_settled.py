"""Outcomes that are put together from the bytes of their intents are those that the codec would write."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.action_layer.authorisation import Authority, Permission, kind_of_intent
from services.action_layer.core import State, Verdict
from services.action_layer.settled import EXECUTED, SettledReader, settled
from sluice_contracts import Decoded, decode, encode
from tests.unit.action_layer.builders import intent

ANY = frozenset({"*"})
AUTHORITY = Authority(
    "rules-1",
    {"log": "log", "webhook": "webhook", "list": "list", "absent": "webhook"},
    frozenset({"log", "webhook", "list"}),
    {"list": {"block": "ADD"}},
    tuple(
        Permission(effector, frozenset({"allow", "block"}), ANY, ANY, ANY)
        for effector in ("log", "webhook", "list", "absent")
    ),
)
NOW = 1_767_225_700_000_000
IDS = st.text("abz019_.:-", min_size=1, max_size=140)
INTENTS = st.builds(
    intent,
    idempotency_key=IDS,
    event_id=IDS,
    decision_id=IDS,
    subject_event_id=IDS,
    customer_id=IDS,
    run_id=IDS,
    scenario_id=IDS,
    tenant=st.sampled_from(["default", "other"]),
    effector=st.sampled_from(["log", "log", "log", "webhook", "list", "absent", "unknown"]),
    action=st.sampled_from(["allow", "allow", "refund"]),
    outcome=st.sampled_from(["ALLOW", "DECLINE"]),
    amount_minor=st.integers(0, 10**15),
    seed=st.none() | st.integers(0, 2**40),
    traceparent=st.none() | st.just(f"00-{'a' * 32}-{'b' * 16}-01"),
    reason_code=st.none() | st.just("DEFAULT"),
    not_after=st.none() | st.sampled_from([NOW - 1, NOW, NOW + 1]),
    ts_utc=st.integers(0, NOW),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(INTENTS, min_size=16, max_size=24))
def test_a_batch_by_columns_says_what_each_intent_by_itself_says(intents: list[dict[str, Any]]) -> None:
    values = [encode("action_intent", 1, fields) for fields in intents]
    found = SettledReader(AUTHORITY).read(values, NOW)
    for place, fields in enumerate(intents):
        verdict = AUTHORITY.objection(fields, NOW)
        standing = AUTHORITY.standing_objection(kind_of_intent(fields))
        if verdict is None and fields["payload"]["effector"] == "log":
            verdict = standing = EXECUTED
        if verdict is None or verdict != standing:
            assert place not in found, "it needs a call, changes a list, or came too late"
        else:
            assert found[place] == settled(fields, verdict, AUTHORITY, NOW)


def test_what_the_policy_forbids_is_settled_without_being_decoded() -> None:
    values = [encode("action_intent", 1, intent(effector="absent"))] * 20
    found = SettledReader(AUTHORITY).read(values, NOW)
    content = decode(found[19].event)
    assert isinstance(content, Decoded)
    assert content.fields["payload"]["reason_codes"] == ["EFFECTOR_NOT_WIRED"]
    assert (found[19].line, found[19].state) == (None, "DENIED")


def test_moments_and_broken_bytes_do_not_spread_over_a_batch() -> None:
    reader = SettledReader(AUTHORITY)
    values = [encode("action_intent", 1, intent())] * 20
    first, second = reader.read(values, NOW), reader.read([*values, values[0][:-3]], NOW + 5)
    assert set(second) == set(range(20)), "the broken one is left to whoever reads one by one"
    for found, now in ((first[0], NOW), (second[0], NOW + 5)):
        assert found == settled(intent(), Verdict(State.EXECUTED), AUTHORITY, now)
