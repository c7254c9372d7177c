"""REST of the gate: receipts, quarantine, runs and policy, from what is committed."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from services.ingestion_gate.governance_ledger import QuarantineStatus
from services.ingestion_gate.model import Run, RunStatus
from services.ingestion_gate.operator_desk import (
    KINDS,
    Done,
    OperatorDesk,
    Order,
    Ordered,
    Refused,
    Unknown,
)
from services.ingestion_gate.operator_lane import Actor, OperatorLaneAwayError
from services.ingestion_gate.overlay import GateView
from services.ingestion_gate.quarantine_view import (
    QuarantineDetail,
    QuarantineFilter,
    QuarantinePage,
    QuarantineView,
    offset_of_token,
)
from services.ingestion_gate.receipt_lookup import ReceiptLookup
from sluice_kit.http import IdempotencyKey, ProblemError
from sluice_kit.http.access import caller_of
from sluice_kit.kafka.record_fetcher import FetchTimeoutError
from sluice_kit.receipts import ReceiptList, ReceiptView

EventId = Annotated[str, Path(min_length=1, max_length=1024)]
QuarantineId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
_RETRY_SECONDS: Final = "2"
Answer = TypeVar("Answer")


class RunView(BaseModel):
    """A run as the gate sees it. HELD: its READY waits for the gate's own evidence."""

    tenant: str
    run_id: str
    status: Literal["HELD", "OPEN", "CLOSED"]
    standing: bool
    manifest_fingerprint: str | None = None
    parameter_hash: str | None = None
    scenario_id: str | None = None
    delivery_mode: str | None = None
    ready_event_id: str | None = None


class RunListView(BaseModel):
    """Runs, in the order in which the gate opened them; held ones last."""

    runs: list[RunView]


class PolicyView(BaseModel):
    """The policy in force."""

    revision: str
    fingerprint: str = Field(description="sha256 of its canonical form")
    policy: dict[str, Any]


class Decision(BaseModel):
    """Why an operator does it; ``dry_run`` says what would happen and does nothing."""

    reason: str = Field(min_length=1, max_length=4096)
    dry_run: bool = False


class ActionAnswer(BaseModel):
    """A recorded action. ``receipt`` is the gate's receipt of it; null: not decided yet, ask the link.

    ``original`` are receipts of the released event, where it has an id.
    """

    action_id: str
    kind: Literal["release", "discard"]
    quarantine_id: str
    status: QuarantineStatus
    dry_run: bool
    receipt: ReceiptView | None
    original: list[ReceiptView]
    links: dict[str, str]


class GateApi:
    """What the routes use. Handlers run in worker threads: look-ups block."""

    def __init__(
        self,
        view: Callable[[], GateView],
        lookup: ReceiptLookup,
        quarantine: QuarantineView,
        desk: OperatorDesk,
    ) -> None:
        self.view, self.lookup, self.quarantine, self.desk = view, lookup, quarantine, desk

    def act(
        self,
        request: Request,
        response: Response,
        *,
        verb: str,
        quarantine_id: str,
        key: str,
        decision: Decision,
    ) -> ActionAnswer:
        """Release or discard."""
        caller = caller_of(request)
        order = Order(
            kind=KINDS[verb],
            quarantine_id=quarantine_id,
            reason=decision.reason,
            idempotency_key=key,
            actor=Actor(caller.name, caller.roles),
            now=time.time_ns() // 1_000,
        )
        match self.desk.carry_out(order, dry_run=decision.dry_run):
            case Unknown():
                raise not_found("NO_SUCH_QUARANTINE", f"no quarantined record {quarantine_id}")
            case Refused(code, detail):
                raise ProblemError(
                    409, code, detail, action="Look at the record: GET /v1/quarantine/{quarantine_id}."
                )
            case Done() as done:
                if done.receipt is None and not done.dry_run:
                    response.status_code = 202
                return ActionAnswer(
                    action_id=done.action_id,
                    kind="release" if verb == "release" else "discard",
                    quarantine_id=quarantine_id,
                    status=done.status,
                    dry_run=done.dry_run,
                    receipt=done.receipt,
                    original=list(done.original),
                    links={
                        "receipt": f"/v1/receipts/{done.action_id}",
                        "quarantine": f"/v1/quarantine/{quarantine_id}",
                    },
                )


def router(api: GateApi) -> APIRouter:
    """Build the gate's ``/v1`` routes."""
    routes = APIRouter(prefix="/v1")
    _receipt_routes(routes, api)
    _quarantine_routes(routes, api)
    _state_routes(routes, api)
    return routes


def _receipt_routes(routes: APIRouter, api: GateApi) -> None:
    @routes.get("/receipts/{event_id}", tags=["receipts"])
    def receipts(
        event_id: EventId,
        tenant: Annotated[str | None, Query()] = None,
        run: Annotated[str | None, Query()] = None,
    ) -> ReceiptList:
        """Every receipt of an event, oldest first (at most 200): admission, duplicates, quarantine.

        The path also takes the id of a receipt.
        """
        found = answered(lambda: api.lookup.receipts(event_id, tenant=tenant, run_id=run))
        if not found.receipts:
            raise not_found("NO_RECEIPT", f"no receipt for event {event_id} (tenant {tenant}, run {run})")
        return found


def _quarantine_routes(routes: APIRouter, api: GateApi) -> None:
    @routes.get("/quarantine", tags=["quarantine"])
    def list_quarantine(
        *,
        reason: Annotated[str | None, Query(description="a reason code")] = None,
        tenant: Annotated[str | None, Query()] = None,
        run: Annotated[str | None, Query()] = None,
        lane: Annotated[str | None, Query(description="topic, such as ingress.edge")] = None,
        status: Annotated[QuarantineStatus | None, Query()] = None,
        page: Annotated[str | None, Query(description="next_page of the page before")] = None,
        size: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> QuarantinePage:
        """Quarantined records, newest first. A page may be short; only ``next_page: null`` is the end."""
        before = None if page is None else offset_of_token(page)
        if page is not None and before is None:
            raise ProblemError(
                400, "INVALID_PAGE", "page is not a token of this list", action="Begin without page."
            )
        chosen = QuarantineFilter(reason, tenant, run, lane, status)
        return answered(lambda: api.quarantine.page(chosen, before, size))

    @routes.get("/quarantine/{quarantine_id}", tags=["quarantine"])
    def show_quarantine(quarantine_id: QuarantineId) -> QuarantineDetail:
        """One record with its original bytes, receipts, and what operators did."""
        found = answered(lambda: api.quarantine.detail(quarantine_id))
        if found is None:
            raise not_found("NO_SUCH_QUARANTINE", f"no quarantined record {quarantine_id}")
        return found

    @routes.post("/quarantine/{quarantine_id}/release", tags=["quarantine"])
    def release(
        request: Request,
        response: Response,
        quarantine_id: QuarantineId,
        key: IdempotencyKey,
        decision: Decision,
    ) -> ActionAnswer:
        """Bring the original before the gate again, under the policy of now; 202: not decided yet."""
        return answered(
            lambda: api.act(
                request,
                response,
                verb="release",
                quarantine_id=quarantine_id,
                key=key,
                decision=decision,
            )
        )

    @routes.post("/quarantine/{quarantine_id}/discard", tags=["quarantine"])
    def discard(
        request: Request,
        response: Response,
        quarantine_id: QuarantineId,
        key: IdempotencyKey,
        decision: Decision,
    ) -> ActionAnswer:
        """Record that the original will not be admitted. Its evidence stays."""
        return answered(
            lambda: api.act(
                request,
                response,
                verb="discard",
                quarantine_id=quarantine_id,
                key=key,
                decision=decision,
            )
        )


def _state_routes(routes: APIRouter, api: GateApi) -> None:
    @routes.get("/runs", tags=["runs"])
    def runs(tenant: Annotated[str | None, Query()] = None) -> RunListView:
        """Runs that the gate has opened, closed or holds."""
        view = api.view()
        opened = sorted(view.runs.values(), key=lambda run: run.run_no)
        held = [
            RunView(tenant=key[0], run_id=key[1], status="HELD", standing=False, ready_event_id=item.event_id)
            for key, waiting in sorted(view.held.items())
            for item in waiting
        ]
        shown = [*map(_run_view, opened), *held]
        return RunListView(runs=[run for run in shown if tenant in {None, run.tenant}])

    @routes.get("/policy", tags=["policy"])
    def policy() -> PolicyView:
        """The policy in force."""
        active = api.view().policy
        return PolicyView(
            revision=active.revision, fingerprint=active.fingerprint(), policy=active.model_dump(mode="json")
        )


def _run_view(run: Run) -> RunView:
    return RunView(
        tenant=run.tenant,
        run_id=run.run_id,
        status="OPEN" if run.status is RunStatus.OPEN else "CLOSED",
        standing=run.standing,
        manifest_fingerprint=run.manifest_fingerprint or None,
        parameter_hash=run.parameter_hash or None,
        scenario_id=run.scenario_id or None,
        delivery_mode=run.delivery_mode or None,
        ready_event_id=run.ready_event_id or None,
    )


def not_found(code: str, detail: str) -> ProblemError:
    """404; what was written a moment ago may still be on its way into the index."""
    return ProblemError(
        404, code, detail, action="Check the id; what was just written is found within a second."
    )


def receipt_of_order(
    carry_out: Callable[[], Ordered | Refused], response: Response, *, dry_run: bool, action: str
) -> ReceiptView | None:
    """The receipt of what was ordered; none, and status 202, while it is not decided.

    Raises ProblemError: 409 with `action` where it is refused, 503 while the broker is away.
    """
    done = answered(carry_out)
    if isinstance(done, Refused):
        raise ProblemError(409, done.code, done.detail, action=action)
    if done.receipt is None and not dry_run:
        response.status_code = 202
    return done.receipt


def answered(look: Callable[[], Answer]) -> Answer:
    """What a look-up or an action gives. Raises ProblemError (503) while the broker is away."""
    try:
        return look()
    except (FetchTimeoutError, OperatorLaneAwayError) as error:
        raise ProblemError(
            503,
            "BROKER_AWAY",
            str(error),
            action="Send the same request again, with the same Idempotency-Key where it has one.",
            headers={"Retry-After": _RETRY_SECONDS},
        ) from error
