"""REST for operators: force a posture and release it. `GET /v1/posture` is the ladder's own."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from services.ingestion_gate.api import receipt_of_order
from services.ingestion_gate.operator_lane import Actor
from services.ingestion_gate.posture_desk import PostureDesk, PostureOrder
from sluice_decisions.posture_orders import FORCE, OVERRIDE, RELEASE
from sluice_decisions.postures import Posture
from sluice_kit.http import IdempotencyKey
from sluice_kit.http.access import caller_of
from sluice_kit.receipts import ReceiptView

Scope = Annotated[
    str,
    Field(pattern=r"^(all|tenant:[A-Za-z0-9][A-Za-z0-9_.-]{0,63})$", description="all, or tenant:NAME"),
]


class ReleaseRequest(BaseModel):
    """Which scope, and why an operator does it; ``dry_run`` says what would happen and does nothing."""

    scope: Scope = "all"
    reason: str = Field(min_length=1, max_length=4096)
    dry_run: bool = False


class ForceRequest(ReleaseRequest):
    """A floor: never milder than ``posture``. With ``override`` exactly it, for a limited time.

    Only an override holds a milder rung than signals call for.
    """

    posture: Posture
    override: bool = False


class PostureAnswer(BaseModel):
    """A recorded order. ``receipt`` is the gate's receipt of it; null: not decided yet, ask the link."""

    action_id: str
    kind: Literal["posture_force", "posture_override", "posture_release"]
    scope: str
    posture: Posture | None
    dry_run: bool
    receipt: ReceiptView | None
    links: dict[str, str]


def posture_router(desk: PostureDesk) -> APIRouter:
    """Build the routes of ``/v1/posture/force`` and ``/v1/posture/release``."""
    routes = APIRouter(prefix="/v1/posture", tags=["posture"])

    @routes.post("/force")
    def force(
        request: Request, response: Response, key: IdempotencyKey, asked: ForceRequest
    ) -> PostureAnswer:
        """Force a scope to a rung. The ladder follows within a batch; 202: not decided yet."""
        kind = OVERRIDE if asked.override else FORCE
        return _carry_out(desk, _order(request, kind, key, asked, asked.posture), asked, response)

    @routes.post("/release")
    def release(
        request: Request, response: Response, key: IdempotencyKey, asked: ReleaseRequest
    ) -> PostureAnswer:
        """Let signals say again where a scope stands; it comes up one rung at a time."""
        return _carry_out(desk, _order(request, RELEASE, key, asked, None), asked, response)

    return routes


def _order(
    request: Request, kind: str, key: str, asked: ReleaseRequest, rung: Posture | None
) -> PostureOrder:
    caller = caller_of(request)
    return PostureOrder(
        kind=kind,
        scope=asked.scope,
        rung=rung,
        reason=asked.reason,
        idempotency_key=key,
        actor=Actor(caller.name, caller.roles),
        now=time.time_ns() // 1_000,
    )


def _carry_out(
    desk: PostureDesk, order: PostureOrder, asked: ReleaseRequest, response: Response
) -> PostureAnswer:
    receipt = receipt_of_order(
        lambda: desk.carry_out(order, dry_run=asked.dry_run),
        response,
        dry_run=asked.dry_run,
        action="Name a scope that GET /v1/posture of the ladder shows.",
    )
    return PostureAnswer.model_validate(
        {
            "action_id": order.action_id,
            "kind": order.kind,
            "scope": order.scope,
            "posture": order.rung,
            "dry_run": asked.dry_run,
            "receipt": receipt,
            "links": {
                "receipt": f"/v1/receipts/{order.action_id}",
                "posture": f"/v1/posture?scope={order.scope}",
            },
        }
    )
