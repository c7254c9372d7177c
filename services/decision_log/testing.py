"""Hand-made chains for tests and benchmarks: the records that a gate and its stages would have written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from services.decision_log.links import TOPIC_OF, Kind
from sluice_contracts import Decoded, decision_id, decode, derived_id, encode, intent_id, payload_hash
from sluice_contracts.receipts import NO_COORDINATES, coordinate_tails
from sluice_features import hash_of_event

_HASH: Final = "ab" * 32
_TS: Final = 1_767_225_600_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """A record for a topic."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class HandMade:
    """One payment with everything that follows from it. `domains` are those of its intents, in order."""

    run_id: str
    number: int
    tenant: str = "default"
    domains: tuple[str, ...] = ("payment_response",)
    uses_snapshot: bool = True

    @property
    def event_id(self) -> str:
        """The payment's id."""
        return hashlib.sha256(f"{self.tenant}/{self.run_id}/{self.number}".encode()).hexdigest()

    @property
    def snapshot_hash(self) -> str:
        """Of its feature snapshot."""
        return hash_of_event(self._snapshot)

    @property
    def decision_id(self) -> str:
        """Of its decision."""
        return decision_id(self.tenant, self.run_id, self.event_id)

    def intent_id(self, domain: str = "payment_response") -> str:
        """Of an intent."""
        return intent_id(self.tenant, self.run_id, self.event_id, domain)

    @property
    def payload_hash(self) -> str:
        """Of the payment."""
        content = decode(self.payment().value)
        assert isinstance(content, Decoded)
        return payload_hash(content.fields).hex()

    def payment(self) -> Message:
        """The payment itself."""
        return self._message(
            Kind.PAYMENT,
            self.event_id,
            {
                "payment_id": f"p-{self.number}",
                "customer_id": self._customer,
                "terminal_id": f"t-{self.number % 50}",
                "amount_minor": 1_999,
                "currency": "EUR",
            },
        )

    def receipt(
        self, subject: str = "payment", *, decision: str = "ADMIT", partition: int = 0, place: int = 0
    ) -> Message:
        """The receipt of the payment (or, by `subject`, of another record about it); the last at `place`."""
        receipt_id = derived_id("sluice.receipt.v1", "ingress.edge", self.event_id, subject, decision)
        payload = {
            "receipt_id": receipt_id,
            "decision": decision,
            "reason_codes": [] if decision == "ADMIT" else ["SOME_REASON"],
            "subject_event_id": self.event_id,
            "subject_event_type": subject,
            "subject_run_id": self.run_id,
            "payload_hash": self.payload_hash,
            "policy_revision": "gate-default-1",
            "partition_key": self._customer,
            "partition_profile": "customer",
            "principal": "edge",
            "origin": "lane",
            "lane_topic": "ingress.edge",
            "lane_partition": 0,
            "lane_offset": self.number,
            "admitted_at": _TS,
            "detail": None,
            "evidence_ref": None,
            "eb_topic": None,
            "eb_partition": -1,
            "eb_offset": -1,
        }
        message = self._message(Kind.RECEIPT, receipt_id, payload, key=self.event_id)
        (tail,) = coordinate_tails([("traffic.payment", partition, place)])
        return Message(message.topic, message.key, message.value.removesuffix(NO_COORDINATES) + tail)

    def snapshot(self, snapshot_hash: str | None = None) -> Message:
        """Its feature snapshot."""
        fields = self._snapshot | {"snapshot_hash": snapshot_hash or self.snapshot_hash}
        value = encode("feature_snapshot", 1, fields)
        return Message(TOPIC_OF[Kind.SNAPSHOT], self.event_id.encode(), value)

    @property
    def _snapshot(self) -> dict[str, Any]:
        """All of its snapshot but the hash."""
        return {
            "tenant": self.tenant,
            "run_id": self.run_id,
            "event_id": self.event_id,
            "as_of": _TS + self.number,
            "feature_set": {"name": "payments", "revision": "1", "hash": _HASH},
            "values": list(range(24)),
            "missing": [3],
            "freshness": [1_000, 2_000],
            "graph_version": 17,
            "graph_basis": _HASH,
            "input_basis": _HASH,
            "degraded": [],
            "payment": {"topic": "traffic.payment", "partition": 0, "offset": self.number},
        }

    def decision(self) -> Message:
        """Its decision."""
        payload = {
            "subject_event_id": self.event_id,
            "payment_id": f"p-{self.number}",
            "customer_id": self._customer,
            "amount_minor": 1_999,
            "currency": "EUR",
            "outcome": "ALLOW",
            "mode": "MODEL",
            "reason_codes": ["DEFAULT"],
            "score_ppm": 12_345,
            "attributions": [],
            "bundle_id": "payments",
            "bundle_revision": "1",
            "bundle_hash": _HASH,
            "policy_revision": "rules-1",
            "feature_set_hash": _HASH if self.uses_snapshot else None,
            "snapshot_hash": self.snapshot_hash if self.uses_snapshot else None,
            "graph_version": 17,
            "graph_basis": _HASH,
            "posture": "NORMAL",
            "posture_event_id": None,
            "decided_at": _TS,
            "deadline": None,
            "payment": {"topic": "traffic.payment", "partition": 0, "offset": self.number},
            "input_basis": _HASH,
        }
        return self._message(Kind.DECISION, self.decision_id, payload)

    def intent(self, domain: str = "payment_response") -> Message:
        """One of its intents."""
        payload = {
            "idempotency_key": self.intent_id(domain),
            "decision_id": self.decision_id,
            "subject_event_id": self.event_id,
            "customer_id": self._customer,
            "domain": domain,
            "effector": "log",
            "action": "allow",
            "payment_id": f"p-{self.number}",
            "amount_minor": 1_999,
            "currency": "EUR",
            "reason_code": None,
            "list": None,
            "entry": None,
            "outcome": "ALLOW",
            "not_after": None,
            "policy_revision": "rules-1",
        }
        return self._message(Kind.INTENT, self.intent_id(domain), payload)

    def outcome(
        self, domain: str = "payment_response", outcome: str = "EXECUTED", sequence: int = 0
    ) -> Message:
        """What came of an intent; the first has sequence 0."""
        intent = self.intent_id(domain)
        payload = {
            "intent_event_id": intent,
            "idempotency_key": intent,
            "decision_id": self.decision_id,
            "subject_event_id": self.event_id,
            "customer_id": self._customer,
            "domain": domain,
            "effector": "log",
            "action": "allow",
            "outcome": outcome,
            "attempts": 1,
            "reason_codes": [],
            "detail": None,
            "response_code": None,
            "started_at": _TS,
            "finished_at": _TS,
            "supersedes": None,
            "policy_revision": "actions-1",
        }
        outcome_id = derived_id("sluice.action_outcome.v1", intent, sequence)
        return self._message(Kind.OUTCOME, outcome_id, payload)

    def whole(self) -> list[Message]:
        """The whole chain."""
        return [
            self.payment(),
            self.receipt(),
            *([self.snapshot()] if self.uses_snapshot else []),
            self.decision(),
            *(self.intent(domain) for domain in self.domains),
            *(self.outcome(domain) for domain in self.domains),
        ]

    def receipts_of_the_rest(self) -> list[Message]:
        """Receipts of decision, intent and outcome, which concern no payment: most of `audit.receipt`."""
        return [self.receipt(subject) for subject in ("decision", "action_intent", "action_outcome")]

    @property
    def _customer(self) -> str:
        return f"c-{self.number % 997}"

    def _message(
        self, kind: Kind, event_id: str, payload: dict[str, Any], *, key: str | None = None
    ) -> Message:
        fields = {
            "event_id": event_id,
            "event_type": kind.value,
            "ts_utc": _TS + self.number,
            "schema_version": 1,
            "manifest_fingerprint": _HASH,
            "tenant": self.tenant,
            "parameter_hash": _HASH,
            "scenario_id": "baseline",
            "run_id": self.run_id,
            "seed": 42,
            "emitted_at_utc": _TS,
            "producer": "ingestion_gate",
            "parent_event_id": None if kind is Kind.PAYMENT else self.event_id,
            "traceparent": None,
            "payload": payload,
        }
        value = encode(kind.value, 1, fields)
        return Message(TOPIC_OF[kind], (key or self._customer).encode(), value)


def hand_made(run_id: str, count: int) -> Iterator[HandMade]:
    """`count` payments of a run."""
    return (HandMade(run_id, number) for number in range(count))


def messages_of(payments: Iterable[HandMade]) -> Iterator[Message]:
    """All that a loop would have written about payments, receipts of the rest included."""
    for payment in payments:
        yield from payment.whole()
        yield from payment.receipts_of_the_rest()
