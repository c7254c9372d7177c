"""What the loop bench counts and verifies, from topics alone, in processes of its own."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from sluice_bench.arithmetic import percentile
from sluice_bench.copy_loop import PRINCIPAL, Starts
from sluice_bench.pacing import Pace, seconds_of
from sluice_bench.watching import committed_ends
from sluice_contracts import Decoded, decode
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config, reader_config
from sluice_kit.replay.verifying import verify

DECISIONS: Final = "traffic.decision"
INTENTS: Final = "traffic.action_intent"
OUTCOMES: Final = "traffic.action_outcome"
AUDIT: Final = "audit.decision_record"
WATCHED: Final = (DECISIONS, INTENTS, OUTCOMES, AUDIT)
_LOOK_SECONDS: Final = 1.0
Payloads = Sequence[Mapping[str, Any]]


def chains_since(
    wiring: dict[str, Any], starts: dict[str, Starts], payments: int, deadline_seconds: float
) -> dict[str, Any]:
    """Read what a part's payments led to, until the audit log covers them all or the deadline has come.

    `starts` are the committed ends of WATCHED before the part.
    """
    made = Wiring(**wiring)
    begin = time.monotonic()
    decisions: Payloads | None = None
    while True:
        waited = time.monotonic() - begin
        log = log_of(_payloads(made, starts[AUDIT], "decision_segment"))
        if log["audit_records"] >= payments and log["audit_incomplete"] > log["audit_corrections"]:
            decisions = decisions or _payloads(made, starts[DECISIONS], "decision")
        if audited(log | {"without_snapshot": _without_snapshot(decisions or ())}, payments):
            break
        if waited > deadline_seconds:
            break
        time.sleep(_LOOK_SECONDS)
    return log | {
        "audit_waited_for_seconds": round(waited, 1),
        **chains_of(
            decisions or _payloads(made, starts[DECISIONS], "decision"),
            _payloads(made, starts[INTENTS], "action_intent"),
            _payloads(made, starts[OUTCOMES], "action_outcome"),
        ),
    }


def log_of(segments: Payloads) -> dict[str, int]:
    """Records of audit segments: those of a payment each, of them without a part, and what corrects these."""
    return {
        "audit_records": sum(one["records"] - one["corrections"] for one in segments),
        "audit_incomplete": sum(one["incomplete"] for one in segments),
        "audit_corrections": sum(one["corrections"] for one in segments),
    }


def chains_of(decisions: Payloads, intents: Payloads, outcomes: Payloads) -> dict[str, Any]:
    """Counts of what payments led to."""
    return {
        "decisions": len(decisions),
        "decided_payments": len({one["subject_event_id"] for one in decisions}),
        "by_outcome": _counted([one["outcome"] for one in decisions]),
        "by_mode": _counted([one["mode"] for one in decisions]),
        "without_snapshot": _without_snapshot(decisions),
        "intents": len(intents),
        "by_effector": _counted([one["effector"] for one in intents]),
        "outcomes": len(outcomes),
        "by_action": _counted([one["outcome"] for one in outcomes]),
    }


def audited(found: Mapping[str, Any], payments: int) -> bool:
    """Whether the audit log covers so many payments, and no record of them waits for a part.

    The record of a decision that used no snapshot lacks one for good, and says so.
    """
    return bool(
        found["audit_records"] >= payments
        and found["audit_incomplete"] <= found["audit_corrections"] + found["without_snapshot"]
    )


def await_decision(wiring: dict[str, Any], starts: Starts, event_id: str, deadline_seconds: float) -> str:
    """The posture under which a payment was decided, once that can be read. Raises RuntimeError."""
    made = Wiring(**wiring)
    consumer = Consumer(reader_config(made, PRINCIPAL, group="bench-await"))
    consumer.assign([TopicPartition(*start) for start in starts])
    wanted, deadline = event_id.encode(), time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        values = [message.value() or b"" for message in consumer.consume(5_000, 0.1)]
        for value in values:
            if wanted in value and isinstance(found := decode(value), Decoded):
                consumer.close()
                posture: str = found.fields["payload"]["posture"]
                return posture
    consumer.close()
    raise RuntimeError(f"what stood on the lane before was not decided within {deadline_seconds:.0f} s")


def complete(found: Mapping[str, Any], payments: int) -> bool:
    """Whether each payment was decided once, each intent has an outcome, each audit record is whole."""
    return bool(
        found["decisions"] == found["decided_payments"] == found["audit_records"] == payments
        and found["intents"] == found["outcomes"]
        and audited(found, payments)
    )


def verify_chain(wiring: dict[str, Any], *, behind_gate: bool) -> dict[str, Any]:
    """Step the history of the chain, or of what is behind its gate, again and hold it against the log."""
    return verify(Wiring(**wiring), "ingestion_gate", principal=PRINCIPAL, behind_head=behind_gate).to_json()


def recovery_seconds(
    latencies: Sequence[float], pace: Pace, burst_end: float, normal_seconds: float
) -> float | None:
    """Seconds from the end of a burst until the first whole second whose payments are as fast as they should.

    That is by their own 99th percentile, from intended send times on; None when there is no such second.
    """
    for number, found in enumerate(seconds_of(latencies, pace)):
        if number >= burst_end and found and percentile(found, 0.99) <= normal_seconds:
            return number - burst_end
    return None


def count_records(wiring: dict[str, Any], topic: str) -> int:
    """Committed records of a topic from its beginning, markers left out."""
    made = Wiring(**wiring)
    admin = AdminClient(client_config(made, PRINCIPAL))
    return len(_values(made, [(topic, number, 0) for _, number, _ in committed_ends(admin, topic)]))


def _payloads(wiring: Wiring, starts: Starts, event_type: str) -> list[dict[str, Any]]:
    found = (decode(value) for value in _values(wiring, starts))
    return [
        one.fields["payload"]
        for one in found
        if isinstance(one, Decoded) and one.contract.event_type == event_type
    ]


def _values(wiring: Wiring, starts: Starts) -> list[bytes]:
    """All committed values from `starts` on, as of now."""
    consumer = Consumer(
        reader_config(wiring, PRINCIPAL, group="bench-chains") | {"enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(*start) for start in starts])
    found: list[bytes] = []
    ended: set[int] = set()
    while len(ended) < len(starts):
        for message in consumer.consume(5_000, 0.2):
            if message.error() is None:
                found.append(message.value() or b"")
                ended.discard(message.partition() or 0)
            else:
                ended.add(message.partition() or 0)
    consumer.close()
    return found


def _without_snapshot(decisions: Payloads) -> int:
    return sum(one["snapshot_hash"] is None for one in decisions)


def _counted(values: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
