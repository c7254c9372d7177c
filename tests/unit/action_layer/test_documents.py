"""Events of the action layer are valid, and their ids follow from what caused them."""

from hypothesis import given
from hypothesis import strategies as st

from services.action_layer.core import State, Verdict
from services.action_layer.documents import (
    Account,
    Event,
    conflict_event,
    first_outcome_ids,
    list_event,
    outcome_event,
    outcome_id,
    signal_event,
)
from services.action_layer.intents import content_hash
from services.action_layer.pacing import TokenBucket
from services.action_layer.tally import Tally
from sluice_contracts import Decoded, check, decode
from tests.unit.action_layer.builders import intent

ACCOUNT = Account(2, 10, 20, "r-1")


def fields_of(event: Event) -> dict[str, object]:
    content = decode(event.value)
    assert isinstance(content, Decoded)
    assert check(content.fields) == ()
    assert content.fields["event_id"] == event.event_id
    return dict(content.fields)


@given(st.lists(st.text(max_size=80), max_size=5))
def test_ids_of_many_outcomes_are_those_of_each(keys: list[str]) -> None:
    for some in (keys, [*keys, "ab" * 32], ["ab" * 32, "k-1"]):
        assert first_outcome_ids(some) == [outcome_id(key, 1) for key in some]


def test_a_second_outcome_supersedes_the_first() -> None:
    first = outcome_event(intent(), Verdict(State.UNCERTAIN, ("NO_ANSWER",), "x" * 5_000), 1, ACCOUNT)
    second = outcome_event(intent(), Verdict(State.EXECUTED, (), None, 200), 2, ACCOUNT)
    assert (first.event_id, second.event_id) == (outcome_id("k-1", 1), outcome_id("k-1", 2))
    payload = fields_of(second)["payload"]
    assert isinstance(payload, dict)
    assert (payload["supersedes"], payload["intent_event_id"]) == (first.event_id, "i-1")
    fields = fields_of(first)
    assert (fields["run_id"], fields["ts_utc"], fields["parent_event_id"]) == (
        "run-1",
        1_767_225_600_000_000,
        "i-1",
    )
    assert first.key == b"run-1"


def test_a_refused_content_has_an_id_of_its_own_that_a_repetition_has_too() -> None:
    other = intent(amount_minor=1)
    refused = conflict_event(other, content_hash(other), ACCOUNT)
    later = conflict_event(other, content_hash(other), ACCOUNT._replace(finished_at=99))
    assert refused.event_id == later.event_id
    assert refused.event_id not in {outcome_id("k-1", number) for number in range(5)}
    fields_of(refused)


def test_lists_and_signals_fit_their_contracts() -> None:
    fields_of(list_event(intent(list="blocked", entry="t-1", effector="list"), "ADD", 7))
    tally = Tally()
    tally.taken(3, repeated=1, conflicts=0)
    tally.settled(State.EXECUTED)
    values = tally.drain()
    assert (values["events"], values["executed"], tally.drain()["events"]) == (3, 1, 0)
    one, again, later = (signal_event("ok", values, 0, now) for now in (5_000_000, 5_000_000, 5_999_999))
    assert one.event_id == again.event_id != later.event_id, "two of one second may say different things"
    fields_of(one)


def test_a_bucket_fills_at_its_rate_up_to_its_burst() -> None:
    bucket = TokenBucket(rate=10, burst=5)
    assert bucket.available(0) == 5
    bucket.spend(5)
    assert bucket.available(99_999) == 0
    assert bucket.available(100_000) == 1
    assert bucket.available(50_000) == 1, "a clock that goes back gives nothing"
    assert bucket.available(60_000_000) == 5
