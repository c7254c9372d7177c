"""What the edge decides by looking at its arguments alone: JSON to lane record, receipt to answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

import orjson

from sluice_contracts import CONTRACTS, LANES, NO_PINS, STANDING, EncodeError, Violation, derived_id
from sluice_contracts.aliases import AliasConflict, canonical_names
from sluice_kit.telemetry import EventSampler, TraceParent, trace_id_for

LANE: Final = "ingress.edge"
PAYMENT: Final = "payment"
"""The event type that is decided about."""
EVENT_ID_DOMAIN: Final = "sluice.edge.event.v1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIMES: Final = ("ts_utc", "emitted_at_utc")
_DEFAULTS: Final[Mapping[str, Any]] = {
    "schema_version": 1,
    "manifest_fingerprint": NO_PINS,
    "parameter_hash": NO_PINS,
    "scenario_id": STANDING,
    "run_id": STANDING,
}


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """Where a request stands in a trace; ``continued``: in its caller's, which no event of it leaves."""

    context: TraceParent
    continued: bool
    sampler: EventSampler


@dataclass(frozen=True, slots=True)
class Submission:
    """What a request says about all its events. ``now`` is microseconds since 1970 UTC."""

    principal: str
    now: int
    idempotency_key: str | None
    batch: bool
    max_event_bytes: int
    tenant: str = "default"
    trace: RequestTrace | None = None


@dataclass(frozen=True, slots=True)
class Framed:
    """An event that keeps its contract, as it will stand on the lane; ``line`` counts from 1."""

    line: int
    event_id: str
    event_type: str
    tenant: str
    run_id: str
    key: bytes
    value: bytes
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that never reaches the lane, and why. ``status`` is what a request of it alone gets."""

    line: int
    status: int
    code: str
    detail: str
    errors: tuple[Violation, ...] = ()
    event_id: str | None = None


def frame(raw: bytes, line: int, submission: Submission) -> Framed | Rejected:
    """Read one JSON event, fill in what outside publishers need not know, and hold it to its contract."""
    if len(raw) > submission.max_event_bytes:
        detail = f"{len(raw)} bytes; one event may have {submission.max_event_bytes}"
        return Rejected(line, 413, "EVENT_TOO_LARGE", detail)
    try:
        given = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Rejected(line, 400, "INVALID_JSON", str(error))
    if not isinstance(given, dict):
        detail = f"an event is a JSON object, not {type(given).__name__}"
        return Rejected(line, 422, "INVALID_EVENT", detail, (Violation("event", "type", detail),))
    named, conflicts = canonical_names(given)
    if conflicts:
        return _conflicting(line, conflicts)
    fields = _completed(named, line, submission)
    if "event_id" not in fields:
        detail = "the event has no event_id and the request no Idempotency-Key to derive one from"
        return Rejected(line, 422, "NO_EVENT_ID", detail, (Violation("event_id", "required", detail),))
    return _held_to_contract(fields, line)


def _conflicting(line: int, conflicts: Sequence[AliasConflict]) -> Rejected:
    broken = tuple(
        Violation(alias, "alias", f"{alias} and {other} name the same field and have different values")
        for alias, other in conflicts
    )
    return Rejected(line, 422, "ALIAS_CONFLICT", "; ".join(item.message for item in broken), broken)


def _completed(fields: dict[str, Any], line: int, submission: Submission) -> dict[str, Any]:
    whole = {**_DEFAULTS, "tenant": submission.tenant, **fields, "producer": submission.principal}
    for name in _TIMES:
        if isinstance(whole.get(name), str):
            whole[name] = micros_of(whole[name])
    if whole.get("emitted_at_utc") is None:
        whole["emitted_at_utc"] = submission.now
    if whole.get("event_id") is None:
        whole.pop("event_id", None)
        if submission.idempotency_key is not None:
            whole["event_id"] = event_id_from(
                submission.principal, submission.idempotency_key, line if submission.batch else None
            )
    event_id = whole.get("event_id")
    if whole.get("traceparent") is None and submission.trace is not None and isinstance(event_id, str):
        whole["traceparent"] = str(context_of(event_id, submission.trace, batch=submission.batch))
    return whole


def context_of(event_id: str, trace: RequestTrace, *, batch: bool) -> TraceParent:
    """The context that an event carries: that of its request.

    An event that comes alone, of a caller without a trace, is in the trace that its id names, as its retries.
    """
    request = trace.context
    return TraceParent(
        request.trace_id if batch or trace.continued else trace_id_for(event_id),
        request.span_id,
        request.sampled or trace.sampler.selects(event_id),
    )


def _held_to_contract(fields: dict[str, Any], line: int) -> Framed | Rejected:
    event_id, event_type, version = fields["event_id"], fields.get("event_type"), fields["schema_version"]
    named = event_id if isinstance(event_id, str) else None
    allowed = LANES[LANE].event_types
    if not isinstance(event_type, str) or version not in allowed.get(event_type, ()):
        known = ", ".join(f"{name} version {v}" for name, versions in allowed.items() for v in versions)
        detail = f"event_type {event_type!r} version {version!r} may not be published here; allowed: {known}"
        violation = Violation("event_type", "lane", detail)
        return Rejected(line, 422, "INVALID_EVENT", detail, (violation,), named)
    contract = CONTRACTS[event_type, version]
    violations = contract.check(fields)
    if violations:
        detail = "; ".join(violation.message for violation in violations[:5])
        return Rejected(line, 422, "INVALID_EVENT", detail, violations, named)
    try:
        value = contract.encode(fields)
    except EncodeError as error:
        return Rejected(line, 413, "EVENT_TOO_LARGE", str(error), (), named)
    run_id = fields["run_id"]
    return Framed(
        line,
        fields["event_id"],
        event_type,
        fields["tenant"],
        run_id,
        run_id.encode(),
        value,
        fields.get("traceparent"),
    )


def event_id_from(principal: str, idempotency_key: str, line: int | None) -> str:
    """The id of an event that came without one: a retry with the same key is the same event."""
    causes = (EVENT_ID_DOMAIN, principal, idempotency_key)
    return derived_id(*causes) if line is None else derived_id(*causes, line)


def micros_of(text: str) -> int | str:
    """RFC 3339 text with a zone as microseconds since 1970 UTC; other text stays, for the contract."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.tzinfo is None else (moment - _EPOCH) // _MICROSECOND


def split_lines(body: bytes) -> list[tuple[int, bytes]]:
    """The lines of an NDJSON body with their numbers from 1; blank ones are left out."""
    return [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that stands on the lane; ``receipt`` (decoded fields) None: the gate has not answered yet."""

    framed: Framed
    receipt: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class NotTaken:
    """An event of which the lane has not said that it keeps it; a retry with the same id is safe."""

    framed: Framed
    detail: str


Outcome = Taken | NotTaken | Rejected

ADMITTED, REPEATED, KEPT, PENDING = "ADMITTED", "REPEATED", "QUARANTINED", "PENDING"
REJECTED, NOT_TAKEN = "REJECTED", "NOT_TAKEN"
UNDECIDED, OF_ANOTHER = "UNDECIDED", "OF_ANOTHER"
"""No results: what is said of a payment on the bus whose decision was asked for and cannot be shown."""
STATUS_OF: Final = {ADMITTED: 201, REPEATED: 200, KEPT: 200, PENDING: 202}
MESSAGE_OF: Final = {
    ADMITTED: "The event is a fact on the event bus.",
    REPEATED: "This event was admitted before; this is where it stands. Nothing was written twice.",
    KEPT: "The event was taken and is kept in quarantine, not on the event bus; reason_codes say why. "
    "Sending it again does not help: an operator can release it.",
    PENDING: "The event is safe on its lane; the gate has not decided yet. Ask the link for the receipt.",
    NOT_TAKEN: "The event may not have been stored. Send it again with the same event_id or Idempotency-Key.",
    UNDECIDED: "The event is a fact on the event bus, but no decision came in time. Ask the link for it.",
    OF_ANOTHER: "Another publisher's event with this id was admitted before. Its decision is not yours to "
    "see; give your event an id of its own.",
    REJECTED: "The event breaks its contract and was not stored. Correct it and send it again.",
}


def result_of(outcome: Outcome) -> str:
    """One word for what became of an event."""
    if isinstance(outcome, Rejected):
        return REJECTED
    if isinstance(outcome, NotTaken):
        return NOT_TAKEN
    if outcome.receipt is None:
        return PENDING
    decision = outcome.receipt["payload"]["decision"]
    return {"ADMIT": ADMITTED, "DUPLICATE": REPEATED}.get(decision, KEPT)


def batch_status(results: Sequence[str]) -> int:
    """Status of a whole batch: 200 all settled, 202 some pending, 422 none was good, 503 none was taken."""
    if all(result == REJECTED for result in results):
        return 422
    if all(result in {REJECTED, NOT_TAKEN} for result in results):
        return 503
    return 202 if any(result in {PENDING, NOT_TAKEN} for result in results) else 200


class NoDecision(Enum):
    """Why an answer has no decision."""

    NOT_ASKED = "nobody asked for it"
    NOT_IN_TIME = "it did not come within the wait, or whose it is was not known by then"
    NEVER = "nothing is decided: it is no payment, was not taken, or is in quarantine"
    NOT_YOURS = "another publisher's event has this id, and the decision is about that one"


def no_decision_for(outcome: Outcome, principal: str, first_principal: str | None) -> NoDecision | None:
    """Why the publisher of an event gets no decision however long the wait; None: one can come.

    ``first_principal`` published what a repeated event repeats; None: not known.
    """
    if not isinstance(outcome, Taken) or outcome.framed.event_type != PAYMENT:
        return NoDecision.NEVER
    match result_of(outcome):
        case "QUARANTINED":
            return NoDecision.NEVER
        case "PENDING":
            return NoDecision.NOT_IN_TIME
        case "REPEATED" if first_principal is None:
            return NoDecision.NOT_IN_TIME
        case "REPEATED" if first_principal != principal:
            return NoDecision.NOT_YOURS
    return None
