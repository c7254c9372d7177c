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
    effects: list[str] = field(default_factory=list)
    records: list[tuple[Fields, Fields]] = field(default_factory=list)
    """(identity, chain) of each decision record."""
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
        ):
            logs.facts.add(
                Recorded(topic, 0, at, b"k", encode(one["event_type"], 1, one), NOW_MS + LATENCY_MS)
                for at, one in enumerate(events)
            )
        effects = bytearray(b"".join(map(key_digest, self.effects)))
        report = judge_loop(logs, findings, records=self._records(logs, findings), effects=effects)
        assert report is not None
        return LoopVerdict(report, findings)

    def _records(self, logs: Logs, findings: Findings) -> AuditRecords:
        columns = [[orjson.dumps(one[part]).decode() for one in self.records] for part in (0, 1)]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"identity": columns[0], "chain": columns[1]}), sink)
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


@dataclass(frozen=True)
class LoopVerdict:
    report: LoopReport
    findings: Findings

    @property
    def faults(self) -> dict[Fault, int]:
        return self.findings.ordered_counts()


def whole_loop() -> CraftedLoop:
    """Ten payments that are decided, acted on and recorded; one call was in doubt and then settled."""
    made = CraftedLoop()
    for number in range(PAYMENTS):
        subject, outcome = payment(number), OUTCOMES[number % len(OUTCOMES)]
        made.payments.append(subject)
        decision_id = derived_id("test.decision", number)
        about = {"subject_event_id": subject["event_id"], "outcome": outcome}
        made.decisions.append(example("decision", subject, decision_id, **about, reason_codes=["SCORE"]))
        effector = "log" if outcome == "ALLOW" else "webhook"
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
                    outcome=end, supersedes=earlier,
                )
            )  # fmt: skip
        if effector == "webhook":
            made.effects.append(key)
        identity = {name: subject[name] for name in ("tenant", "run_id", "event_id")}
        made.records.append((identity, {"status": "COMPLETE", "corrects": None}))
    return made


def _no_decision(loop: CraftedLoop) -> None:
    """Neither decision nor anything that follows from it."""
    del loop.decisions[0], loop.intents[0], loop.outcomes[0]


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


def _decision_of_nothing(loop: CraftedLoop) -> None:
    del loop.payments[0], loop.records[0]


def _no_intent(loop: CraftedLoop) -> None:
    del loop.intents[0], loop.outcomes[0]


def _same_key_again(loop: CraftedLoop) -> None:
    loop.intents.append(loop.intents[0])


def _same_domain_again(loop: CraftedLoop) -> None:
    intent, outcome = loop.intents[0], loop.outcomes[0]
    loop.intents.append(intent | {"payload": intent["payload"] | {"idempotency_key": "k2"}})
    loop.outcomes.append(
        outcome | {"event_id": "k2-1", "payload": outcome["payload"] | {"idempotency_key": "k2"}}
    )


def _intent_of_another_outcome(loop: CraftedLoop) -> None:
    loop.intents[0]["payload"]["outcome"] = "DECLINE"


def _no_outcome(loop: CraftedLoop) -> None:
    del loop.outcomes[0]


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


def _lost_effect(loop: CraftedLoop) -> None:
    del loop.effects[0]


def _double_effect(loop: CraftedLoop) -> None:
    loop.effects.append(loop.effects[0])


def _effect_of_nothing(loop: CraftedLoop) -> None:
    loop.effects.append("nobody asked for it")


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
    (_two_decisions, {Fault.DECISION_TWICE}),
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
    (_no_record, {Fault.AUDIT_RECORD_MISSING}),
    (_two_records, {Fault.AUDIT_RECORD_TWICE}),
    (_record_of_nothing, {Fault.AUDIT_RECORD_TWICE}),
    (_altered_segment, {Fault.AUDIT_SEGMENT_UNREADABLE, Fault.AUDIT_RECORD_MISSING}),
]
