"""REST of the edge: publish events, ask for their receipts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.security import HTTPBearer

from services.ingest_edge import core
from services.ingest_edge.answers import (
    BatchAnswer,
    EventAnswer,
    Settled,
    decision_link,
    event_answer,
    line_answer,
    receipt_link,
    rules_broken,
)
from services.ingest_edge.core import Framed, NotTaken, Rejected, Submission
from services.ingest_edge.deadline import Deadline
from services.ingest_edge.deciding import Decisions
from services.ingest_edge.decision_client import DecisionsAwayError, DecisionView, decisions_away
from services.ingest_edge.gate_client import GateAwayError, GateClient, gate_away
from services.ingest_edge.preferences import Preferences, parse_prefer, preferences_in
from services.ingest_edge.publishing import Publisher
from services.ingest_edge.requests import body_of, form_of, too_large
from services.ingest_edge.settings import EdgePolicy
from services.ingest_edge.tracing import events_known, request_trace
from sluice_contracts import STANDING
from sluice_kit.http import ProblemDetail, ProblemError, ScopeHeaders
from sluice_kit.http.bearer_tokens import TokenBook
from sluice_kit.receipts import ReceiptList
from sluice_kit.telemetry import Span, Tracing
from sluice_kit.telemetry.request_spans import RequestSpan

_OK: Final = 200
_ACCEPTED: Final = 202
_DECISION: Final[Any] = {"decision": True, "links": {"decision"}}
_BREATH: Final = 100
"""Lines after which other requests get a turn."""

IDEMPOTENCY_KEY: Final = Header(
    alias="Idempotency-Key",
    pattern=r"^[\x21-\x7e]{1,255}$",
    description="gives events without an event_id their identity; send the same key with every retry",
)


class EdgeApi:
    """What the routes use."""

    def __init__(
        self,
        policy: EdgePolicy,
        tokens: TokenBook,
        publisher: Publisher,
        gate: GateClient,
        *,
        decisions: Decisions,
        tracing: Tracing,
    ) -> None:
        self.policy, self.tokens, self.publisher = policy, tokens, publisher
        self.gate, self.decisions, self.tracing = gate, decisions, tracing

    async def post(self, request: Request, idempotency_key: str | None, tenant: str, span: Span) -> Response:
        """Authenticate, read, frame, publish, answer."""
        principal = self.tokens.require(request.headers.get("authorization")).name
        form = form_of(request)
        batch = form == "lines"
        limit = self.policy.max_body_bytes if batch else self.policy.max_event_bytes
        body = await body_of(request, limit)
        submission = Submission(
            principal=principal,
            now=time.time_ns() // 1_000,
            idempotency_key=idempotency_key,
            batch=batch,
            max_event_bytes=self.policy.max_event_bytes,
            tenant=tenant,
            trace=request_trace(span, self.tracing.sampler),
        )
        wanted = preferences_in(
            parse_prefer(request.headers.getlist("prefer")),
            default=self.policy.wait_seconds,
            longest=self.policy.max_wait_seconds,
            batch=batch,
        )
        if batch:
            return await self._batch(body, submission, wanted, span)
        return await self._single(body, submission, wanted, span)

    async def _single(self, body: bytes, submission: Submission, wanted: Preferences, span: Span) -> Response:
        framed = core.frame(body, 1, submission)
        if isinstance(framed, Rejected):
            raise rejected_problem(framed)
        events_known(span, [framed], self.tracing.sampler, principal=submission.principal)
        (settled,) = await self.publisher.publish(
            submission.principal, [framed], wanted.wait_seconds, decide=wanted.decision
        )
        if isinstance(settled.outcome, NotTaken):
            raise self.publisher.away(settled.outcome.detail)
        answer = event_answer(settled)
        link = decision_link if settled.undecided else receipt_link
        headers = {"Location": link(framed.event_id, framed.tenant, framed.run_id)}
        status = 202 if settled.undecided else core.STATUS_OF[answer.result]
        if status == _ACCEPTED:
            headers["Retry-After"] = str(self.policy.retry_after_seconds)
        return _json(answer, status, headers, wanted)

    async def _batch(self, body: bytes, submission: Submission, wanted: Preferences, span: Span) -> Response:
        lines = core.split_lines(body)
        if len(lines) > self.policy.max_batch_events:
            raise too_large(f"{len(lines)} events; {self.policy.max_batch_events} are taken at once")
        if not lines:
            raise ProblemError(
                422, "EMPTY_BATCH", "the body has no line with an event", action="Send one JSON event a line."
            )
        framed: list[Framed | Rejected] = []
        for position, (number, line) in enumerate(lines, 1):
            framed.append(core.frame(line, number, submission))
            if position % _BREATH == 0:
                await asyncio.sleep(0)
        good = [item for item in framed if isinstance(item, Framed)]
        events_known(span, good, self.tracing.sampler, principal=submission.principal)
        published: Iterator[Settled] = iter(())
        if good:
            published = iter(
                await self.publisher.publish(
                    submission.principal, good, wanted.wait_seconds, decide=wanted.decision
                )
            )
        settled = [Settled(item) if isinstance(item, Rejected) else next(published) for item in framed]
        results = [line_answer(one) for one in settled]
        status = core.batch_status([result.result for result in results])
        if status == _OK and any(one.undecided for one in settled):
            status = _ACCEPTED
        headers = {"Retry-After": str(self.policy.retry_after_seconds)} if status in {202, 503} else {}
        counts = dict(Counter(str(result.result) for result in results))
        answer = BatchAnswer.model_construct(results=results, counts=counts)
        return _json(answer, status, headers, wanted)

    async def receipts(
        self, authorization: str | None, event_id: str, *, tenant: str | None, run: str | None
    ) -> ReceiptList:
        """The caller's own receipts of an event."""
        principal = self.tokens.require(authorization).name
        try:
            found = await self.gate.receipts(event_id, tenant=tenant, run=run)
        except GateAwayError as error:
            raise gate_away(error, self.policy.retry_after_seconds) from error
        own = [receipt for receipt in found if receipt.principal == principal]
        if not own:
            raise ProblemError(
                404,
                "NO_RECEIPT",
                f"no receipt of yours for event {event_id}",
                action="If you have just published it, ask again shortly; else check id, tenant and run.",
            )
        return ReceiptList(receipts=own)

    async def decision(
        self, authorization: str | None, event_id: str, *, tenant: str, run_id: str
    ) -> DecisionView:
        """The decision about an event that the caller published."""
        own = await self.receipts(authorization, event_id, tenant=tenant, run=run_id)
        found: DecisionView | None = None
        if any(
            receipt.decision == "ADMIT" and receipt.event_type == core.PAYMENT for receipt in own.receipts
        ):
            deadline = Deadline.after(self.policy.decision_timeout_seconds)
            try:
                found = await self.decisions.find(event_id, tenant=tenant, run_id=run_id, deadline=deadline)
            except DecisionsAwayError as error:
                raise decisions_away(error, self.policy.retry_after_seconds) from error
        if found is None:
            raise ProblemError(
                404,
                "NO_DECISION",
                f"no decision about an event {event_id} of yours",
                action="If you have just published it, ask again shortly; else look at its receipt: only "
                "admitted payments are decided.",
            )
        return found


def edge_router(api: EdgeApi) -> APIRouter:
    """Build the router of ``/v1/events``, ``/v1/receipts`` and ``/v1/decisions``."""
    router = APIRouter(tags=["publishing"], dependencies=[Depends(HTTPBearer(auto_error=False))])

    @router.post(
        "/v1/events",
        response_model=EventAnswer | BatchAnswer,
        responses=_RESPONSES,
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def publish(
        request: Request,
        scope: ScopeHeaders,
        span: RequestSpan,
        key: Annotated[str | None, IDEMPOTENCY_KEY] = None,
        _prefer: Annotated[
            str | None,
            Header(
                alias="Prefer",
                description="wait=<seconds> for receipt and decision; respond-async: not at all; decision: "
                "wait for it as long as for a receipt, and in a batch for those of all lines (RFC 7240)",
            ),
        ] = None,
    ) -> Response:
        """Publish one event (application/json) or a batch (application/x-ndjson, one event a line).

        Answers with the receipt of the gate's decision. Sending an event again gives the receipt of its first
        admission: retrying is always safe, as long as the event_id or the Idempotency-Key stays the same.
        With `Prefer: wait=<seconds>` the answer to a payment has the decision as well, the same for every
        retry; what did not come in time is behind `Location`.
        """
        return await api.post(request, key, scope.tenant, span)

    @router.get("/v1/receipts/{event_id}", tags=["receipts"])
    async def receipts(
        request: Request,
        event_id: str,
        tenant: Annotated[str | None, Query()] = None,
        run: Annotated[str | None, Query()] = None,
    ) -> ReceiptList:
        """Every receipt of an event that you published, oldest first."""
        return await api.receipts(request.headers.get("authorization"), event_id, tenant=tenant, run=run)

    @router.get("/v1/decisions/{event_id}", tags=["decisions"])
    async def decision(
        request: Request,
        event_id: str,
        scope: ScopeHeaders,
        tenant: Annotated[str | None, Query()] = None,
        run: Annotated[str, Query()] = STANDING,
    ) -> DecisionView:
        """The decision about a payment that you published."""
        return await api.decision(
            request.headers.get("authorization"), event_id, tenant=tenant or scope.tenant, run_id=run
        )

    return router


def rejected_problem(rejected: Rejected) -> ProblemError:
    """The problem document of a single event that breaks its contract: each error names path and rule."""
    return ProblemError(
        rejected.status,
        rejected.code,
        rejected.detail,
        action="Correct the event and send it again; it was not stored.",
        errors=[
            ProblemDetail(where=item.path, what=f"{item.rule}: {item.message}")
            for item in rules_broken(rejected)
        ],
    )


def _json(
    model: EventAnswer | BatchAnswer, status: int, headers: dict[str, str], wanted: Preferences
) -> Response:
    """Who did not ask for decisions gets an answer without a word of them."""
    if wanted.applied:
        headers["Preference-Applied"] = ", ".join(wanted.applied)
    left_out = None
    if not wanted.decision:
        left_out = _DECISION if isinstance(model, EventAnswer) else {"results": {"__all__": _DECISION}}
    body = model.model_dump_json(exclude=left_out)
    return Response(body, status, headers, media_type="application/json")


_EXAMPLE: Final[dict[str, Any]] = {
    "event_id": "order-4711-authorised",
    "event_type": "payment",
    "ts_utc": "2026-01-31T12:00:00Z",
    "payload": {
        "payment_id": "order-4711",
        "customer_id": "c-17",
        "terminal_id": "shop-3",
        "amount_minor": 1999,
        "currency": "EUR",
    },
}
_REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {"schema": {"type": "object"}, "example": _EXAMPLE},
        "application/x-ndjson": {"schema": {"type": "string"}},
    },
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Settled: admitted before, or kept in quarantine. For a batch: every line is settled.",
    },
    201: {"model": EventAnswer, "description": "Admitted: a new fact on the event bus"},
    202: {
        "model": EventAnswer,
        "description": "Taken; receipt or decision was not there in time: see Location",
    },
    401: {"description": "No known bearer token"},
    413: {"description": "Body, event or batch too large"},
    415: {"description": "Neither JSON nor NDJSON"},
    429: {"description": "Over a limit; see Retry-After"},
    503: {"description": "Nothing is known to be stored; see Retry-After and send the same again"},
}
