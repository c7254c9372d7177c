"""REST of the edge: publish events, ask for their receipts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.security import HTTPBearer

from services.ingest_edge import core
from services.ingest_edge.answers import (
    BatchAnswer,
    EventAnswer,
    event_answer,
    line_answer,
    receipt_link,
    rules_broken,
)
from services.ingest_edge.core import Framed, NotTaken, Outcome, Rejected, Submission
from services.ingest_edge.gate_client import GateAwayError, GateClient, gate_away
from services.ingest_edge.publishing import Publisher
from services.ingest_edge.requests import body_of, form_of, too_large, wait_of
from services.ingest_edge.settings import EdgePolicy
from services.ingest_edge.tracing import events_known, request_trace
from sluice_kit.http import ProblemDetail, ProblemError, ScopeHeaders
from sluice_kit.http.bearer_tokens import TokenBook
from sluice_kit.receipts import ReceiptList
from sluice_kit.telemetry import Span, Tracing
from sluice_kit.telemetry.request_spans import RequestSpan

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
        tracing: Tracing,
    ) -> None:
        self.policy, self.tokens, self.publisher = policy, tokens, publisher
        self.gate, self.tracing = gate, tracing

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
        wait = wait_of(request, self.policy.wait_seconds, self.policy.max_wait_seconds)
        if batch:
            return await self._batch(body, submission, wait, span)
        return await self._single(body, submission, wait, span)

    async def _single(self, body: bytes, submission: Submission, wait: float, span: Span) -> Response:
        framed = core.frame(body, 1, submission)
        if isinstance(framed, Rejected):
            raise rejected_problem(framed)
        events_known(span, [framed], self.tracing.sampler, principal=submission.principal)
        (outcome,) = await self.publisher.publish(submission.principal, [framed], wait)
        if isinstance(outcome, NotTaken):
            raise self.publisher.away(outcome.detail)
        (first,) = await self.publisher.first_receipts(submission.principal, [outcome])
        answer = event_answer(outcome, first)
        headers = {"Location": receipt_link(framed.event_id, framed.tenant, framed.run_id)}
        if answer.result == core.PENDING:
            headers["Retry-After"] = str(self.policy.retry_after_seconds)
        return _json(answer, core.STATUS_OF[answer.result], headers)

    async def _batch(self, body: bytes, submission: Submission, wait: float, span: Span) -> Response:
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
        published = iter(await self.publisher.publish(submission.principal, good, wait) if good else [])
        outcomes: list[Outcome] = [item if isinstance(item, Rejected) else next(published) for item in framed]
        firsts = await self.publisher.first_receipts(submission.principal, outcomes)
        results = [line_answer(outcome, first) for outcome, first in zip(outcomes, firsts, strict=True)]
        status = core.batch_status([result.result for result in results])
        headers = {"Retry-After": str(self.policy.retry_after_seconds)} if status in {202, 503} else {}
        counts = dict(Counter(str(result.result) for result in results))
        return _json(BatchAnswer.model_construct(results=results, counts=counts), status, headers)

    async def receipts(
        self, authorization: str | None, event_id: str, **selectors: str | None
    ) -> ReceiptList:
        """The caller's own receipts of an event."""
        principal = self.tokens.require(authorization).name
        try:
            found = await self.gate.receipts(event_id, **selectors)
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


def edge_router(api: EdgeApi) -> APIRouter:
    """Build the router of ``/v1/events`` and ``/v1/receipts``."""
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
            str | None, Header(alias="Prefer", description="wait=<seconds> for the receipt, or respond-async")
        ] = None,
    ) -> Response:
        """Publish one event (application/json) or a batch (application/x-ndjson, one event a line).

        Answers with the receipt of the gate's decision. Sending an event again gives the receipt of its first
        admission: retrying is always safe, as long as the event_id or the Idempotency-Key stays the same.
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


def _json(model: EventAnswer | BatchAnswer, status: int, headers: dict[str, str]) -> Response:
    return Response(model.model_dump_json(), status, headers, media_type="application/json")


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
    202: {"model": EventAnswer, "description": "Taken; the receipt was not there in time: see Location"},
    401: {"description": "No known bearer token"},
    413: {"description": "Body, event or batch too large"},
    415: {"description": "Neither JSON nor NDJSON"},
    429: {"description": "Over a limit; see Retry-After"},
    503: {"description": "Nothing is known to be stored; see Retry-After and send the same again"},
}
