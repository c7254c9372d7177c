"""A decision loop that makes no mistake, and each way to break it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice_checker.audit_records import AuditRecords, read_segments
from sluice_checker.findings import Findings
from sluice_checker.judging import judge_loop
from sluice_checker.logs import FactLog, LaneLog, Recorded
from sluice_checker.loop_log import LoopLog, key_digest
from sluice_checker.report import Fault, LoopReport
from sluice_checker.tables import Logs
from sluice_contracts import Decoded, decode, derived_id, encode
from tests.unit.checker.crafted_log import NOW_MS, CraftedLog, FakeStore, Fields, payment

EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"
PAYMENTS = 10
LATENCY_MS = 40
OUTCOMES = ("ALLOW", "ALLOW", "DECLINE", "STEP_UP", "REVIEW")


def example(event_type: str, subject: Fields, event_id: str, **body: Any) -> Fields:
    """A recorded example event with the pins of a payment and other content."""
    found = decode((EXAMPLES / f"{event_type}.v1" / "full.bin").read_bytes())
    assert isinstance(found, Decoded)
    pins = {name: subject[name] for name in ("tenant", "run_id", "ts_utc")}
    return {**found.fields, **pins, "event_id": event_id, "payload": {**found.fields["payload"], **body}}


@dataclass
class CraftedLoop:
    """Events of each type and the effects of the receiver; tests change what is there."""

    payments: list[Fields] = field(default_factory=list)
    decisions: list[Fields] = field(default_factory=list)
    intents: list[Fields] = field(default_factory=list)
    outcomes: list[Fields] = field(default_factory=list)
    list_changes: list[Fields] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    records: list[tuple[Fields, Fields]] = field(default_factory=list)
    """(identity, chain) of each decision record; the links are what stands there about the payment."""
    misnamed: dict[tuple[int, str], Any] = field(default_factory=dict)
    """A link that is something else: by the number of the record and the name of the link."""
    altered: bool = False
    """Whether the segment's bytes are not those that the bus names."""

    def checked(self) -> "LoopVerdict":
        sent = CraftedLog()
        for fields in self.payments:
            sent.take(fields)
        logs, findings = Logs(lanes=LaneLog(timed=True), facts=FactLog(LoopLog())), Findings()
        logs.lanes.add(sent.lanes)
        logs.facts.add(sent.facts)
        logs.receipts.add(sent.receipts)
        for topic, events in (
            ("traffic.decision", self.decisions),
            ("traffic.action_intent", self.intents),
            ("traffic.action_outcome", self.outcomes),
            ("control.list", self.list_changes),
        ):
            logs.facts.add(
                Recorded(topic, 0, at, b"k", encode(one["event_type"], 1, one), NOW_MS + LATENCY_MS)
                for at, one in enumerate(events)
            )
        effects, logged = (bytearray(b"".join(map(key_digest, keys))) for keys in (self.effects, self.logged))
        records = self._records(logs, findings)
        report = judge_loop(logs, findings, records=records, effects=effects, logged=logged)
        assert report is not None
        return LoopVerdict(report, findings)

    def _records(self, logs: Logs, findings: Findings) -> AuditRecords:
        rows = [self._record(number) for number in range(len(self.records))]
        columns = {name: [orjson.dumps(row[name]).decode() for row in rows] for name in rows[0]}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink)
        content = sink.getvalue().to_pybytes()
        uri, store = "artifact://dla/segments/1.parquet", FakeStore()
        store.objects[uri] = content
        sha256 = "f" * 64 if self.altered else hashlib.sha256(content).hexdigest()
        digest = {"algo": "sha256", "hash": sha256}
        locator = {"uri": uri, "digest": digest, "bytes": len(content), "schema_version": 1}
        event = example(
            "decision_segment", self.payments[0], "segment-1", segment=locator, records=len(self.records),
            incomplete=sum(chain["status"] != "COMPLETE" for _, chain in self.records),
            corrections=sum(chain["corrects"] is not None for _, chain in self.records),
        )  # fmt: skip
        value = encode("decision_segment", 1, event)
        logs.facts.add([Recorded("audit.decision_record", 0, 0, b"k", value, NOW_MS)])
        assert logs.facts.loop is not None
        return read_segments(logs.facts.loop.segments, store, findings)

    def _record(self, number: int) -> Fields:
        identity, chain = self.records[number]

        def about(events: list[Fields]) -> list[Fields]:
            event_id = identity["event_id"]
            return [{"id": one["event_id"]} for one in events if subject_of(one) == event_id]

        links = {
            "decision": next(iter(about(self.decisions)), None),
            "intents": about(self.intents),
            "outcomes": about(self.outcomes),
        }
        changed = {name: self.misnamed.get((number, name), link) for name, link in links.items()}
        return {"identity": identity, "chain": {"missing": []} | chain, **changed}


def subject_of(event: Fields) -> str:
    """Event id of the payment that something of the loop is about."""
    found: str = event["payload"]["subject_event_id"]
    return found


@dataclass(frozen=True)
class LoopVerdict:
    report: LoopReport
    findings: Findings

    @property
    def faults(self) -> dict[Fault, int]:
        return self.findings.ordered_counts()


def whole_loop() -> CraftedLoop:
    """Ten payments that are decided, acted on and recorded; one call was in doubt and then settled.

    An operator changed a list, too, which is nobody's effect.
    """
    made = CraftedLoop()
    for number in range(PAYMENTS):
        subject, outcome = payment(number), OUTCOMES[number % len(OUTCOMES)]
        made.payments.append(subject)
        decision_id = derived_id("test.decision", number)
        about = {"subject_event_id": subject["event_id"], "outcome": outcome}
        made.decisions.append(example("decision", subject, decision_id, **about, reason_codes=["SCORE"]))
        effector = {"ALLOW": "log", "REVIEW": "list"}.get(outcome, "webhook")
        key = derived_id("test.key", number)
        made.intents.append(
            example(
                "action_intent", subject, key, **about, idempotency_key=key, decision_id=decision_id,
                effector=effector,
            )
        )  # fmt: skip
        ends = [(None, "EXECUTED")] if number != 3 else [(None, "UNCERTAIN"), (f"{key}-1", "EXECUTED")]
        for sequence, (earlier, end) in enumerate(ends, 1):
            made.outcomes.append(
                example(
                    "action_outcome", subject, f"{key}-{sequence}", idempotency_key=key, effector=effector,
                    outcome=end, supersedes=earlier, intent_event_id=key,
                    subject_event_id=subject["event_id"],
                )
            )  # fmt: skip
        if effector == "webhook":
            made.effects.append(key)
        elif effector == "log":
            made.logged.append(key)
        else:
            change = example("list_changed", subject, f"{key}-list", cause_event_id=key)
            made.list_changes.append(change | {"producer": "action_layer"})
        identity = {name: subject[name] for name in ("tenant", "run_id", "event_id")}
        made.records.append((identity, {"status": "COMPLETE", "corrects": None}))
    by_hand = example("list_changed", made.payments[0], "by hand", cause_event_id=None)
    made.list_changes.append(by_hand | {"producer": "operator"})
    return made


def _no_decision(loop: CraftedLoop) -> None:
    """Neither decision nor anything that follows from it."""
    del loop.decisions[0], loop.intents[0], loop.outcomes[0], loop.logged[0]


def _two_decisions(loop: CraftedLoop) -> None:
    twin = loop.decisions[0] | {"event_id": "another"}
    loop.decisions.append(twin)
    intent = loop.intents[0]
    body = intent["payload"] | {"idempotency_key": "k2", "decision_id": "another"}
    loop.intents.append(intent | {"event_id": "k2", "payload": body})
    outcome = loop.outcomes[0]
    loop.outcomes.append(
        outcome | {"event_id": "k2-1", "payload": outcome["payload"] | {"idempotency_key": "k2"}}
    )
    loop.logged.append("k2")


def _decision_of_nothing(loop: CraftedLoop) -> None:
    del loop.payments[0], loop.records[0]


def _no_intent(loop: CraftedLoop) -> None:
    del loop.intents[0], loop.outcomes[0], loop.logged[0]


def _same_key_again(loop: CraftedLoop) -> None:
    loop.intents.append(loop.intents[0])


def _same_domain_again(loop: CraftedLoop) -> None:
    intent, outcome = loop.intents[0], loop.outcomes[0]
    loop.intents.append(intent | {"payload": intent["payload"] | {"idempotency_key": "k2"}})
    loop.outcomes.append(
        outcome | {"event_id": "k2-1", "payload": outcome["payload"] | {"idempotency_key": "k2"}}
    )
    loop.logged.append("k2")


def _intent_of_another_outcome(loop: CraftedLoop) -> None:
    loop.intents[0]["payload"]["outcome"] = "DECLINE"


def _no_outcome(loop: CraftedLoop) -> None:
    del loop.outcomes[0], loop.logged[0]


def _only_doubt(loop: CraftedLoop) -> None:
    """The call was in doubt, and nothing has settled it."""
    settling = next(one for one in loop.outcomes if one["payload"]["supersedes"] is not None)
    loop.effects.remove(settling["payload"]["idempotency_key"])
    loop.outcomes.remove(settling)


def _two_ends(loop: CraftedLoop) -> None:
    loop.outcomes.append(loop.outcomes[0] | {"event_id": "another"})


def _outcome_of_nothing(loop: CraftedLoop) -> None:
    outcome = loop.outcomes[0]
    loop.outcomes.append(
        outcome | {"event_id": "another", "payload": outcome["payload"] | {"idempotency_key": "k9"}}
    )
    loop.logged.append("k9")


def _lost_effect(loop: CraftedLoop) -> None:
    del loop.effects[0]


def _double_effect(loop: CraftedLoop) -> None:
    loop.effects.append(loop.effects[0])


def _effect_of_nothing(loop: CraftedLoop) -> None:
    loop.effects.append("nobody asked for it")


def _lost_line(loop: CraftedLoop) -> None:
    del loop.logged[0]


def _double_line(loop: CraftedLoop) -> None:
    loop.logged.append(loop.logged[0])


def _line_of_a_call(loop: CraftedLoop) -> None:
    loop.logged.append(loop.effects[0])


def _lost_change(loop: CraftedLoop) -> None:
    del loop.list_changes[0]


def _double_change(loop: CraftedLoop) -> None:
    loop.list_changes.append(loop.list_changes[0] | {"event_id": "another"})


def _change_of_nothing(loop: CraftedLoop) -> None:
    change = loop.list_changes[0]
    loop.list_changes.append(
        change | {"event_id": "another", "payload": change["payload"] | {"cause_event_id": "nobody"}}
    )


def _record_of_another_decision(loop: CraftedLoop) -> None:
    loop.misnamed[4, "decision"] = {"id": loop.decisions[5]["event_id"]}


def _record_without_its_decision(loop: CraftedLoop) -> None:
    loop.misnamed[4, "decision"] = None


def _record_of_another_intent(loop: CraftedLoop) -> None:
    loop.misnamed[4, "intents"] = [{"id": loop.intents[5]["event_id"]}]


def _record_without_an_intent(loop: CraftedLoop) -> None:
    loop.misnamed[4, "intents"] = []


def _record_of_another_outcome(loop: CraftedLoop) -> None:
    loop.misnamed[4, "outcomes"] = [{"id": "another"}]


def _record_without_the_last_outcome(loop: CraftedLoop) -> None:
    """Of the call that was in doubt: the record knows of the doubt only."""
    (doubt,) = [one for one in loop.outcomes if one["payload"]["outcome"] == "UNCERTAIN"]
    loop.misnamed[3, "outcomes"] = [{"id": doubt["event_id"]}]


def _no_record(loop: CraftedLoop) -> None:
    del loop.records[4]


def _two_records(loop: CraftedLoop) -> None:
    loop.records.append(loop.records[4])


def _record_of_nothing(loop: CraftedLoop) -> None:
    loop.records.append((loop.records[0][0] | {"event_id": "nobody"}, loop.records[0][1]))
    loop.records.append(loop.records[-1])


def _altered_segment(loop: CraftedLoop) -> None:
    loop.altered = True


LOOP_FAULTS: list[tuple[Callable[[CraftedLoop], None], set[Fault]]] = [
    (_no_decision, {Fault.DECISION_MISSING}),
    (_two_decisions, {Fault.DECISION_TWICE, Fault.AUDIT_RECORD_WRONG}),
    (_decision_of_nothing, {Fault.DECISION_UNFOUNDED}),
    (_no_intent, {Fault.INTENT_MISSING}),
    (_same_key_again, {Fault.INTENT_TWICE}),
    (_same_domain_again, {Fault.INTENT_TWICE}),
    (_intent_of_another_outcome, {Fault.INTENT_UNFOUNDED}),
    (_no_outcome, {Fault.OUTCOME_MISSING}),
    (_only_doubt, {Fault.OUTCOME_MISSING}),
    (_two_ends, {Fault.OUTCOME_TWICE}),
    (_outcome_of_nothing, {Fault.OUTCOME_UNFOUNDED}),
    (_lost_effect, {Fault.EFFECT_MISSING}),
    (_double_effect, {Fault.EFFECT_TWICE}),
    (_effect_of_nothing, {Fault.EFFECT_UNFOUNDED}),
    (_lost_line, {Fault.EFFECT_MISSING}),
    (_double_line, {Fault.EFFECT_TWICE}),
    (_line_of_a_call, {Fault.EFFECT_UNFOUNDED}),
    (_lost_change, {Fault.EFFECT_MISSING}),
    (_double_change, {Fault.EFFECT_TWICE}),
    (_change_of_nothing, {Fault.EFFECT_UNFOUNDED}),
    (_record_of_another_decision, {Fault.AUDIT_RECORD_WRONG}),
    (_record_without_its_decision, {Fault.AUDIT_RECORD_WRONG}),
    (_record_of_another_intent, {Fault.AUDIT_RECORD_WRONG}),
    (_record_without_an_intent, {Fault.AUDIT_RECORD_WRONG}),
    (_record_of_another_outcome, {Fault.AUDIT_RECORD_WRONG}),
    (_record_without_the_last_outcome, {Fault.AUDIT_RECORD_WRONG}),
    (_no_record, {Fault.AUDIT_RECORD_MISSING}),
    (_two_records, {Fault.AUDIT_RECORD_TWICE}),
    (_record_of_nothing, {Fault.AUDIT_RECORD_TWICE}),
    (_altered_segment, {Fault.AUDIT_SEGMENT_UNREADABLE, Fault.AUDIT_RECORD_MISSING}),
]
