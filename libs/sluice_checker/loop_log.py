"""What became of payments: decisions, intents, outcomes and audit segments, each reduced to columns."""

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sluice_checker.columns import DIGEST_BYTES, NO_DIGEST, digest, identity, number_column

PAYMENT = "payment"
WEBHOOK, LOG, LIST = 1, 2, 3
EFFECTORS = {"webhook": WEBHOOK, "log": LOG, "list": LIST}
"""Effectors whose effects can be read back, by the name that intents and outcomes carry."""
_ACTION_LAYER = "action_layer"
"""The principal whose changes of lists are effects; operators change lists as well."""
_UNCERTAIN = "UNCERTAIN"
_EXECUTED = "EXECUTED"
_DECLINE = "DECLINE"
_MODEL = "MODEL"


@dataclass(frozen=True, slots=True)
class Declined:
    """A payment that was declined, for people to look at."""

    event_id: str
    run_id: str
    amount_minor: int
    currency: str
    mode: str
    score_ppm: int | None
    reason_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuditSegment:
    """A file of decision records, as its event on the bus names it. `at`: place of that event."""

    at: int
    uri: str
    sha256: str
    records: int


class Payments:
    """Payments on the bus: their identity, and where they stand."""

    def __init__(self) -> None:
        self.at = number_column()
        self.identity = bytearray()


class Decisions:
    """`subject`: identity of the payment; `timestamp_ms`: the record's own on the bus.

    `link`: what the payment's audit record names the event by (`link_digest`).
    """

    def __init__(self) -> None:
        self.at = number_column()
        self.identity = bytearray()
        self.subject = bytearray()
        self.outcome = bytearray()
        """Digest of the outcome, for intents to agree with."""
        self.link = bytearray()
        self.timestamp_ms = number_column()
        self.by_outcome: Counter[str] = Counter()
        self.by_mode: Counter[str] = Counter()
        self.without_snapshot = 0
        """Decisions that used none: their audit record lacks that link for good."""
        self.declined: Declined | None = None
        """One that the model declined, where there is one."""


class Intents:
    """`key`: of the idempotency key; `decision`: identity of what asks for it; `subject`, `link`: as its."""

    def __init__(self) -> None:
        self.at = number_column()
        self.key = bytearray()
        self.decision = bytearray()
        self.slot = bytearray()
        """Of (decision, domain): a decision asks for one action a domain."""
        self.outcome = bytearray()
        self.subject = bytearray()
        self.link = bytearray()


class Outcomes:
    """`intent`: identity of what it answers; `subject`, `link`: as of decisions.

    `supersedes`: identity of an earlier outcome that this one settles, zeros for none.
    """

    def __init__(self) -> None:
        self.at = number_column()
        self.key = bytearray()
        self.identity = bytearray()
        self.intent = bytearray()
        self.supersedes = bytearray()
        self.subject = bytearray()
        self.link = bytearray()
        self.certain = array("B")
        self.executed_by = array("B")
        """WEBHOOK, LOG or LIST where that effector has EXECUTED it, else 0."""
        self.by_outcome: Counter[str] = Counter()


class ListChanges:
    """Changes of lists by the action layer; `intent`: identity of the one that called for it."""

    def __init__(self) -> None:
        self.at = number_column()
        self.intent = bytearray()


class LoopLog:
    """The facts of the decision loop; other facts pass by."""

    def __init__(self) -> None:
        self.payments = Payments()
        self.decisions = Decisions()
        self.intents = Intents()
        self.outcomes = Outcomes()
        self.list_changes = ListChanges()
        self.segments: list[AuditSegment] = []
        self.audited = 0
        """First records about a payment (no corrections), as the segments' events count them."""
        self.lacking = 0
        """Records that lack a link and that no later one corrects, by the same events."""

    def take(self, at: int, event_type: str, fields: dict[str, Any], timestamp_ms: int) -> None:
        """Take one decoded fact in; `at` is its place, `timestamp_ms` the broker's."""
        body = fields["payload"]
        if event_type == PAYMENT:
            self.payments.at.append(at)
            self.payments.identity += _identity(fields, PAYMENT, fields["event_id"])
        elif event_type == "decision":
            self._decided(at, fields, body, timestamp_ms)
        elif event_type == "action_intent":
            self._intended(at, fields, body)
        elif event_type == "action_outcome":
            self._settled(at, fields, body)
        elif event_type == "list_changed" and fields["producer"] == _ACTION_LAYER:
            self.list_changes.at.append(at)
            self.list_changes.intent += _identity(fields, "action_intent", body["cause_event_id"] or "")
        elif event_type == "decision_segment":
            segment = body["segment"]
            self.segments.append(AuditSegment(at, segment["uri"], segment["digest"]["hash"], body["records"]))
            self.audited += body["records"] - body["corrections"]
            self.lacking += body["incomplete"] - body["corrections"]

    @property
    def is_closed(self) -> bool:
        """Whether nothing is under way, by counts: what is missing or twice is for the rules to say."""
        payments = len(self.payments.at)
        settled = sum(self.outcomes.certain)
        return (
            len(self.decisions.at) >= payments
            and settled >= len(self.intents.at)
            and self.audited >= payments
            and self.lacking <= self.decisions.without_snapshot
        )

    def standing(self) -> str:
        """How far it is, in words."""
        return (
            f"{len(self.payments.at)} payments, {len(self.decisions.at)} decisions, "
            f"{len(self.intents.at)} intents, {sum(self.outcomes.certain)} final outcomes, "
            f"{self.audited} audit records, {self.lacking} of them not whole"
        )

    def _decided(self, at: int, fields: dict[str, Any], body: dict[str, Any], timestamp_ms: int) -> None:
        log = self.decisions
        log.at.append(at)
        log.identity += _identity(fields, "decision", fields["event_id"])
        log.subject += _identity(fields, PAYMENT, body["subject_event_id"])
        log.link += link_digest(log.subject[-DIGEST_BYTES:], "decision", fields["event_id"])
        log.outcome += digest(body["outcome"].encode())
        log.timestamp_ms.append(max(0, timestamp_ms))
        log.by_outcome[body["outcome"]] += 1
        log.by_mode[body["mode"]] += 1
        log.without_snapshot += body["snapshot_hash"] is None
        if body["outcome"] == _DECLINE and (
            log.declined is None or _MODEL == body["mode"] != log.declined.mode
        ):
            log.declined = Declined(
                event_id=body["subject_event_id"],
                run_id=fields["run_id"],
                amount_minor=body["amount_minor"],
                currency=body["currency"],
                mode=body["mode"],
                score_ppm=body["score_ppm"],
                reason_codes=tuple(body["reason_codes"]),
            )

    def _intended(self, at: int, fields: dict[str, Any], body: dict[str, Any]) -> None:
        log = self.intents
        log.at.append(at)
        log.key += key_digest(body["idempotency_key"])
        log.decision += _identity(fields, "decision", body["decision_id"])
        log.slot += _identity(fields, "slot", f"{body['decision_id']}\0{body['domain']}")
        log.outcome += digest(body["outcome"].encode())
        log.subject += _identity(fields, PAYMENT, body["subject_event_id"])
        log.link += link_digest(log.subject[-DIGEST_BYTES:], "intents", fields["event_id"])

    def _settled(self, at: int, fields: dict[str, Any], body: dict[str, Any]) -> None:
        log = self.outcomes
        log.at.append(at)
        log.key += key_digest(body["idempotency_key"])
        log.identity += _identity(fields, "action_outcome", fields["event_id"])
        log.intent += _identity(fields, "action_intent", body["intent_event_id"])
        log.subject += _identity(fields, PAYMENT, body["subject_event_id"])
        log.link += link_digest(log.subject[-DIGEST_BYTES:], "outcomes", fields["event_id"])
        earlier = body["supersedes"]
        log.supersedes += NO_DIGEST if earlier is None else _identity(fields, "action_outcome", earlier)
        log.certain.append(body["outcome"] != _UNCERTAIN)
        executed = body["outcome"] == _EXECUTED
        log.executed_by.append(EFFECTORS.get(body["effector"], 0) if executed else 0)
        log.by_outcome[body["outcome"]] += 1


def key_digest(idempotency_key: str) -> bytes:
    """16 bytes that stand for an idempotency key."""
    return digest(idempotency_key.encode())


def payment_identity(tenant: str, run_id: str, event_id: str) -> bytes:
    """16 bytes that stand for a payment."""
    return identity(tenant, run_id, PAYMENT, event_id)


def link_digest(payment: bytes | bytearray, link: str, event_id: str) -> bytes:
    """16 bytes that stand for an event as a payment's record names it: under `link`, by its id."""
    return digest(b"\0".join((payment, link.encode(), event_id.encode())))


def _identity(fields: dict[str, Any], event_type: str, event_id: str) -> bytes:
    return identity(fields["tenant"], fields["run_id"], event_type, event_id)
