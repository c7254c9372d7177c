"""REST for operators: put an entry on a list that rules read, take it off. What is on it says the fabric."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from services.ingestion_gate.api import receipt_of_order
from services.ingestion_gate.list_desk import ADD, REMOVE, ListDesk, ListOrder
from services.ingestion_gate.operator_lane import Actor
from sluice_kit.http import IdempotencyKey
from sluice_kit.http.access import caller_of
from sluice_kit.receipts import ReceiptView

ListName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="as rules read it: lists.NAME")]


class ListRequest(BaseModel):
    """Which entry, and why an operator does it; ``dry_run`` says what would happen and does nothing."""

    entry: str = Field(min_length=1, max_length=256, description="such as a customer id")
    tenant: str = Field(default="default", min_length=1, max_length=128)
    reason: str = Field(min_length=1, max_length=512)
    dry_run: bool = False


class ListAnswer(BaseModel):
    """A recorded change.

    ``receipt``: the gate's of the change; of the action where that was not admitted; null: not decided
    yet, ask the links.
    """

    action_id: str
    change_id: str
    kind: Literal["list_add", "list_remove"]
    tenant: str
    list: str
    entry: str
    dry_run: bool
    receipt: ReceiptView | None
    links: dict[str, str]


def list_router(desk: ListDesk) -> APIRouter:
    """Build the routes of ``/v1/lists/{name}/add`` and ``/v1/lists/{name}/remove``."""
    routes = APIRouter(prefix="/v1/lists/{name}", tags=["lists"])

    @routes.post("/add")
    def add(
        request: Request, response: Response, name: ListName, key: IdempotencyKey, asked: ListRequest
    ) -> ListAnswer:
        """Put an entry on a list. Rules see it with the fabric's next batch; 202: not decided yet."""
        return _carry_out(desk, _order(request, ADD, name, key, asked), asked, response)

    @routes.post("/remove")
    def remove(
        request: Request, response: Response, name: ListName, key: IdempotencyKey, asked: ListRequest
    ) -> ListAnswer:
        """Take an entry off a list; taking off what is not there changes nothing."""
        return _carry_out(desk, _order(request, REMOVE, name, key, asked), asked, response)

    return routes


def _order(request: Request, kind: str, name: str, key: str, asked: ListRequest) -> ListOrder:
    caller = caller_of(request)
    return ListOrder(
        kind=kind,
        tenant=asked.tenant,
        name=name,
        entry=asked.entry,
        reason=asked.reason,
        idempotency_key=key,
        actor=Actor(caller.name, caller.roles),
        now=time.time_ns() // 1_000,
    )


def _carry_out(desk: ListDesk, order: ListOrder, asked: ListRequest, response: Response) -> ListAnswer:
    receipt = receipt_of_order(
        lambda: desk.carry_out(order, dry_run=asked.dry_run),
        response,
        dry_run=asked.dry_run,
        action="Name a tenant that GET /v1/policy of the gate shows.",
    )
    return ListAnswer.model_validate(
        {
            "action_id": order.action_id,
            "change_id": order.change_id,
            "kind": order.kind,
            "tenant": order.tenant,
            "list": order.name,
            "entry": order.entry,
            "dry_run": asked.dry_run,
            "receipt": receipt,
            "links": {
                "action": f"/v1/receipts/{order.action_id}",
                "change": f"/v1/receipts/{order.change_id}",
            },
        }
    )
