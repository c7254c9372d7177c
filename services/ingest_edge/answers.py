"""The bodies of the edge's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode

from pydantic import BaseModel, Field

from services.ingest_edge.core import (
    MESSAGE_OF,
    OF_ANOTHER,
    PENDING,
    UNDECIDED,
    NoDecision,
    NotTaken,
    Outcome,
    Rejected,
    Taken,
    result_of,
)
from services.ingest_edge.decision_client import DecisionView
from sluice_kit.receipts import ReceiptView

Result = Literal["ADMITTED", "REPEATED", "QUARANTINED", "PENDING", "NOT_TAKEN", "REJECTED"]


@dataclass(frozen=True, slots=True)
class Settled:
    """Everything that a request learnt of one event: ``first`` is the receipt of an earlier admission."""

    outcome: Outcome
    first: ReceiptView | None = None
    decision: DecisionView | NoDecision = NoDecision.NOT_ASKED

    @property
    def undecided(self) -> bool:
        """Whether the receipt is there and the decision may still come."""
        return self.decision is NoDecision.NOT_IN_TIME and result_of(self.outcome) != PENDING

    @property
    def message(self) -> str:
        """What became of the event, in a sentence."""
        if self.undecided:
            return MESSAGE_OF[UNDECIDED]
        another = self.decision is NoDecision.NOT_YOURS
        return MESSAGE_OF[OF_ANOTHER if another else result_of(self.outcome)]


class RuleBroken(BaseModel):
    """One rule of the contract that an event breaks: ``path`` such as ``payload.currency``."""

    path: str
    rule: str
    message: str


class Links(BaseModel):
    """Where to ask for the receipt later, and for the decision where that was asked for."""

    receipt: str
    decision: str | None = None


class EventAnswer(BaseModel):
    """What became of one event.

    ``receipt`` is the receipt of the first admission, also for an event that was sent again; only where that
    one cannot be found (another publisher's, or the gate is away) it is the DUPLICATE's own, which names the
    same place on the event bus. ``decision`` is there where the request asked for it (``Prefer: wait=``, or
    ``decision``); null: not made in time (status 202, and a link), or never to be seen (no payment,
    quarantined, or about another publisher's event).
    """

    result: Result
    message: str
    event_id: str | None
    tenant: str | None = None
    run_id: str | None = None
    event_type: str | None = None
    receipt: ReceiptView | None = None
    decision: DecisionView | None = None
    links: Links | None = None


class LineAnswer(EventAnswer):
    """What became of one line of a batch; ``code`` and ``errors`` say why it was not taken."""

    line: int = Field(description="number in the body, from 1; blank lines count")
    code: str | None = None
    errors: list[RuleBroken] = []


class BatchAnswer(BaseModel):
    """One entry a line, in order, and how many there are of each result."""

    results: list[LineAnswer]
    counts: dict[str, int]


def receipt_link(event_id: str, tenant: str, run_id: str) -> str:
    """Where this edge answers with the receipts of an event."""
    return f"/v1/receipts/{quote(event_id, safe='')}?{urlencode({'tenant': tenant, 'run': run_id})}"


def decision_link(event_id: str, tenant: str, run_id: str) -> str:
    """Where this edge answers with the decision about an event."""
    return f"/v1/decisions/{quote(event_id, safe='')}?{urlencode({'tenant': tenant, 'run': run_id})}"


def event_answer(settled: Settled) -> EventAnswer:
    """For an event that was put on the lane."""
    outcome, first = settled.outcome, settled.first
    assert not isinstance(outcome, Rejected)
    event, result = outcome.framed, result_of(outcome)
    links = Links(receipt=receipt_link(event.event_id, event.tenant, event.run_id))
    decided = settled.decision if isinstance(settled.decision, DecisionView) else None
    if decided is not None or settled.decision is NoDecision.NOT_IN_TIME:
        links.decision = decision_link(event.event_id, event.tenant, event.run_id)
    fields = outcome.receipt if isinstance(outcome, Taken) else None
    own = None if fields is None else ReceiptView.of(fields)
    return EventAnswer.model_construct(
        result=result,
        message=settled.message,
        event_id=event.event_id,
        tenant=event.tenant,
        run_id=event.run_id,
        event_type=event.event_type,
        receipt=first or own,
        decision=decided,
        links=links,
    )


def line_answer(settled: Settled) -> LineAnswer:
    """For one line of a batch."""
    outcome = settled.outcome
    if isinstance(outcome, Rejected):
        return LineAnswer.model_construct(
            line=outcome.line,
            result="REJECTED",
            message=outcome.detail,
            event_id=outcome.event_id,
            code=outcome.code,
            errors=rules_broken(outcome),
        )
    answer = event_answer(settled)
    shown = {name: getattr(answer, name) for name in EventAnswer.model_fields}
    code = "LANE_AWAY" if isinstance(outcome, NotTaken) else None
    return LineAnswer.model_construct(line=outcome.framed.line, code=code, errors=[], **shown)


def rules_broken(rejected: Rejected) -> list[RuleBroken]:
    """Path, rule and message of each."""
    return [
        RuleBroken(path=violation.path, rule=violation.rule, message=violation.message)
        for violation in rejected.errors
    ]
