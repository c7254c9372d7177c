"""Whatever the order, the repeats, the time-outs and the crashes: a payment has one current record."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.decision_log.chain import Former, Key, Place
from services.decision_log.core import Chains
from services.decision_log.links import TOPIC_OF, Kind, Link, link_reader
from services.decision_log.records import Due
from services.decision_log.testing import HandMade, Message
from sluice_audit import COMPLETE, INCOMPLETE
from sluice_audit.decision_record import RECORD, contradiction
from sluice_audit.value_forms import has_form
from sluice_kit.artifacts import canonical_json

SOURCES = list(TOPIC_OF.values())
KINDS = {topic: kind for kind, topic in TOPIC_OF.items()}
NEVER = -1
MOST = 1_000


def link_of(message: Message) -> Link:
    link = link_reader(KINDS[message.topic])(message.value)
    assert isinstance(link, Link)
    return link


def leaf_hash_of(record: dict[str, Any]) -> str:
    return hashlib.sha256(b"\0" + canonical_json(record)).hexdigest()


class Log:
    """What is committed: records, and the index beside them."""

    def __init__(self) -> None:
        self.records: list[Due] = []

    def formers(self, keys: list[Key]) -> dict[Key, Former]:
        found = {}
        for due in self.records:
            if due.key in keys:
                found[due.key] = Former(
                    leaf_hash_of(due.record), due.record, due.snapshot, due.awaits_snapshot
                )
        return found

    def of(self, key: Key) -> list[dict[str, Any]]:
        return [due.record for due in self.records if due.key == key]


def tick(
    chains: Chains, log: Log, written_before: int = NEVER, most: int = MOST, *, at_most: int = MOST
) -> list[Due]:
    """What the service does at each seal, without the commit."""
    keys = chains.not_looked_up()
    chains.looked_up(keys, log.formers(keys))
    due = chains.settle(written_before, most, at_most)
    for one in due:
        assert has_form(RECORD, one.record), one.record
        assert contradiction(one.record) == ""
    return due


def feed(chains: Chains, messages: list[Message], written: int = 0, start: int = 0) -> None:
    for number, message in enumerate(messages, start):
        chains.take(link_of(message), Place(SOURCES.index(message.topic), 0, number), written)


class Loop(RuleBasedStateMachine):
    """A bus that grows, a reader that crashes, a log."""

    @initialize(
        payments=st.lists(
            st.builds(
                HandMade,
                run_id=st.sampled_from(["run-1", "run-2"]),
                number=st.integers(0, 3),
                domains=st.sampled_from([("payment_response",), ("payment_response", "list")]),
                uses_snapshot=st.booleans(),
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda payment: payment.event_id,
        ),
        data=st.data(),
    )
    def begin(self, payments: list[HandMade], data: st.DataObject) -> None:
        self.payments = payments
        unsent = [message for payment in payments for message in payment.whole()]
        unsent += [
            payment.outcome(domain, "UNCERTAIN", sequence=1)
            for payment in payments
            for domain in payment.domains
            if data.draw(st.booleans())
        ]
        # a decision uses the first snapshot of its payment; another one may follow, and is not taken for it
        strays = [payment.snapshot("cd" * 32) for payment in payments if data.draw(st.booleans())]
        self.unsent = [*data.draw(st.permutations(unsent)), *strays]
        self.bus: list[list[tuple[Link, int]]] = [[] for _ in SOURCES]
        self.committed = [0] * len(SOURCES)
        self.log = Log()
        self.now = 0
        self.chains, self.position = Chains(), [0] * len(SOURCES)

    @precondition(lambda self: self.unsent)
    @rule(count=st.integers(1, 5))
    def written_to_the_bus(self, count: int) -> None:
        for message in self.unsent[:count]:
            self.bus[SOURCES.index(message.topic)].append((link_of(message), self.now))
        del self.unsent[:count]

    @rule(source=st.integers(0, len(SOURCES) - 1), count=st.integers(1, 4))
    def read(self, source: int, count: int) -> None:
        for link, written in self.bus[source][self.position[source] : self.position[source] + count]:
            self.chains.take(link, Place(source, 0, self.position[source]), written)
            self.position[source] += 1

    @rule()
    def time_passes(self) -> None:
        self.now += 1

    @rule(late=st.booleans(), most=st.sampled_from([0, 1, MOST]), at_most=st.sampled_from([1, MOST]))
    def seal(self, late: bool, most: int, at_most: int) -> None:
        due = tick(self.chains, self.log, self.now if late else NEVER, most, at_most=at_most)
        self.log.records += due
        low = self.chains.low_marks()
        marks = [min(low.get(source, place), place) for source, place in enumerate(self.position)]
        assert all(mark >= before for mark, before in zip(marks, self.committed, strict=True))
        self.committed = marks

    @rule(late=st.booleans())
    def seal_and_die_before_the_commit(self, late: bool) -> None:
        tick(self.chains, self.log, self.now if late else NEVER)
        self.die()

    @rule()
    def die(self) -> None:
        self.chains, self.position = Chains(), list(self.committed)

    @invariant()
    def each_record_corrects_the_one_before(self) -> None:
        if not hasattr(self, "log"):
            return
        for payment in self.payments:
            before = None
            for record in self.log.of(self.key(payment)):
                assert record["chain"]["corrects"] == (None if before is None else leaf_hash_of(before))
                if before is not None:
                    assert {**record, "chain": None} != {**before, "chain": None}, "nothing new"
                before = record

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        self.written_to_the_bus(len(self.unsent))
        for source, records in enumerate(self.bus):
            self.read(source, len(records))
        self.seal(late=False, most=MOST, at_most=MOST)
        assert len(self.chains) == 0, "everything was there, so nothing waits"
        assert self.committed == [len(records) for records in self.bus]
        for payment in self.payments:
            assert_whole(payment, self.log.of(self.key(payment))[-1], self.bus)

    @staticmethod
    def key(payment: HandMade) -> Key:
        return payment.tenant, payment.run_id, payment.event_id


def assert_whole(payment: HandMade, record: dict[str, Any], bus: list[list[tuple[Link, int]]]) -> None:
    missing = [] if payment.uses_snapshot else ["snapshot"]
    assert record["chain"]["missing"] == missing
    assert record["chain"]["status"] == (INCOMPLETE if missing else COMPLETE)
    assert record["identity"]["ts_utc"] == link_of(payment.payment()).ts_utc
    wanted = {"hash": payment.snapshot_hash} if payment.uses_snapshot else None
    assert record["snapshot"] == wanted
    assert record["decision"]["id"] == payment.decision_id
    assert sorted(one["id"] for one in record["intents"]) == sorted(map(payment.intent_id, payment.domains))
    outcomes = [
        (link.id, offset)
        for offset, (link, _) in enumerate(bus[SOURCES.index(TOPIC_OF[Kind.OUTCOME])])
        if link.key[2] == payment.event_id
    ]
    assert [(one["id"], one["offset"]) for one in record["outcomes"]] == outcomes
    for reference in (record["receipt"], record["decision"], *record["intents"], *record["outcomes"]):
        link, _ = bus[SOURCES.index(reference["topic"])][reference["offset"]]
        assert (reference["id"], reference["digest"]) == (link.id, link.digest.hex())


Loop.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestLoop = Loop.TestCase


def test_a_whole_chain_is_recorded_at_once() -> None:
    payment, chains, log = HandMade("run-1", 1), Chains(), Log()
    feed(chains, payment.whole())
    (due,) = tick(chains, log)
    assert (due.complete, due.corrects, due.snapshot) == (True, False, (0, 2))


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [
        (Kind.RECEIPT, ["receipt"]),
        (Kind.SNAPSHOT, ["snapshot"]),
        (Kind.DECISION, ["decision"]),
        (Kind.INTENT, ["intents", "outcomes"]),
        (Kind.OUTCOME, ["outcomes"]),
    ],
)
def test_a_chain_that_lacks_a_link_waits_then_is_incomplete_then_resolved(
    left_out: Kind, missing: list[str]
) -> None:
    payment, chains, log = HandMade("run-1", 1), Chains(), Log()
    late = [message for message in payment.whole() if message.topic == TOPIC_OF[left_out]]
    feed(chains, [message for message in payment.whole() if message not in late], written=100)
    assert tick(chains, log, 99) == []
    (first,) = log.records = tick(chains, log, 100)
    assert first.record["chain"] == {"status": INCOMPLETE, "missing": missing, "corrects": None}
    feed(chains, late, written=900, start=50)
    (second,) = tick(chains, log)
    assert second.complete
    assert second.record["chain"]["corrects"] == leaf_hash_of(first.record)


def test_a_decision_without_a_snapshot_lacks_it_for_good_and_does_not_wait_for_it() -> None:
    payment, chains, log = HandMade("run-1", 1, uses_snapshot=False), Chains(), Log()
    feed(chains, payment.whole())
    log.records = tick(chains, log)
    assert log.records[0].record["chain"]["missing"] == ["snapshot"]
    feed(chains, [payment.snapshot()], start=50)
    assert tick(chains, log, 10**9) == [], "a snapshot that nobody used is no news"
    assert len(chains) == 0


def test_an_uncertain_outcome_is_waited_for() -> None:
    payment, chains, log = HandMade("run-1", 1), Chains(), Log()
    feed(chains, [*payment.whole()[:-1], payment.outcome(outcome="UNCERTAIN")])
    assert tick(chains, log) == []
    log.records = tick(chains, log, 0)
    assert log.records[0].record["chain"]["missing"] == ["outcomes"]
    feed(chains, [payment.outcome(sequence=1)], start=50)
    (resolved,) = tick(chains, log)
    assert resolved.complete
    assert [one["outcome"] for one in resolved.record["outcomes"]] == ["UNCERTAIN", "EXECUTED"]


def test_no_more_chains_wait_than_the_policy_allows() -> None:
    chains, log = Chains(), Log()
    for number in range(5):
        feed(chains, [HandMade("run-1", number).payment()], written=10 - number)
    due = tick(chains, log, most=3)
    assert [one.key[2] for one in due] == [HandMade("run-1", number).event_id for number in (4, 3)]
    assert len(chains) == 3


def test_a_segment_holds_no_more_than_the_policy_allows() -> None:
    chains, log = Chains(), Log()
    for number in range(5):
        feed(chains, HandMade("run-1", number).whole(), start=10 * number)
    sizes = [len(tick(chains, log, 0, 0, at_most=2)) for _ in range(4)]
    assert sizes == [2, 2, 1, 0]


def test_a_snapshot_that_no_record_can_hold_is_refused() -> None:
    link = link_of(HandMade("run-1", 1).snapshot())
    for broken in (link._replace(id="no hash"), link._replace(key=("default", "run 1", "é"))):
        with pytest.raises(ValueError, match=r"no sha256|cannot name"):
            Chains().take(broken, Place(0, 0, 0), 0)


def test_another_snapshot_than_the_one_that_was_used_is_not_taken_for_it() -> None:
    payment, chains, log = HandMade("run-1", 1), Chains(), Log()
    feed(chains, [payment.snapshot("cd" * 32) if "snapshot" in m.topic else m for m in payment.whole()])
    assert tick(chains, log) == []
    (due,) = tick(chains, log, 0)
    assert (due.record["snapshot"], due.record["chain"]["missing"]) == (None, ["snapshot"])


def test_references_stand_in_the_order_of_the_bus() -> None:
    payment, chains = HandMade("run-1", 1, domains=("a", "b", "c")), Chains()
    source = SOURCES.index(TOPIC_OF[Kind.INTENT])
    for domain, place in (("c", (1, 0)), ("a", (0, 7)), ("b", (0, 3))):
        chains.take(link_of(payment.intent(domain)), Place(source, *place), 0)
    (due,) = tick(chains, Log(), 0)
    assert [one["id"] for one in due.record["intents"]] == [payment.intent_id(name) for name in "bac"]
