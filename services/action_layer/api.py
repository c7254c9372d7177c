"""REST of the action layer: ``/v1/actions``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from services.action_layer.actions import MOST, Actions, NotUncertain, Resolved
from services.action_layer.core import State
from services.action_layer.views import (
    ActionList,
    ActionView,
    Key,
    ResolveRequest,
    action_list,
    action_view,
)
from sluice_kit.http import IdempotencyKey, ProblemError, ScopeHeaders
from sluice_kit.http.access import caller_of
from sluice_kit.workflow import DatabaseAwayError

router = APIRouter(prefix="/v1/actions", tags=["actions"])


def _actions_of(request: Request) -> Actions:
    actions: Actions = request.app.state.actions
    return actions


TheActions = Annotated[Actions, Depends(_actions_of)]


@router.get("")
async def of_event(
    scope: ScopeHeaders,
    actions: TheActions,
    event_id: Annotated[str | None, Query(description="Payment event that led to the actions.")] = None,
) -> ActionList:
    """The actions of a payment; without `event_id` they would be too many."""
    if event_id is None:
        raise ProblemError(
            422,
            "EVENT_ID_MISSING",
            "this lists the actions of one payment, and the query names none",
            action="Add ?event_id=, or GET /v1/actions/uncertain for those that wait for a person.",
        )
    with _database():
        return action_list(await actions.of_event(scope.tenant, event_id))


@router.get("/uncertain")
async def uncertain(
    scope: ScopeHeaders, actions: TheActions, limit: Annotated[int, Query(ge=1, le=MOST)] = 100
) -> ActionList:
    """The oldest actions of which nobody knows what came."""
    with _database():
        return action_list(await actions.uncertain(scope.tenant, limit))


@router.get("/{action_key}")
async def show(action_key: Key, scope: ScopeHeaders, actions: TheActions) -> ActionView:
    """One action with its outcomes and calls."""
    with _database():
        known = await actions.find(scope.tenant, action_key)
    if known is None:
        raise _no_action(action_key)
    return action_view(known)


@router.post("/{action_key}/resolve")
async def resolve(  # noqa: PLR0917 - what FastAPI hands in
    action_key: Key,
    request: ResolveRequest,
    idempotency_key: IdempotencyKey,
    scope: ScopeHeaders,
    actions: TheActions,
    http: Request,
) -> ActionView:
    """Say what came of an UNCERTAIN action. The same word again changes nothing."""
    del idempotency_key  # an action is settled once, whatever key the request has
    who = caller_of(http).name
    with _database():
        answer = await actions.resolve(scope.tenant, action_key, State(request.outcome), request.reason, who)
    match answer:
        case None:
            raise _no_action(action_key)
        case NotUncertain(state):
            raise ProblemError(
                409,
                "NOT_UNCERTAIN",
                f"the action is {state}, only an UNCERTAIN one is settled by hand",
                action=f"Look at /v1/actions/{action_key}; what was said stays said.",
            )
        case Resolved(known, _):
            return action_view(known)


def _no_action(key: str) -> ProblemError:
    return ProblemError(
        404,
        "NO_SUCH_ACTION",
        f"this tenant has no action with the key {key}",
        action="GET /v1/actions?event_id= lists the actions of a payment.",
    )


@contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except DatabaseAwayError as error:
        raise ProblemError(
            503,
            "DEPENDENCY_AWAY",
            str(error),
            action="Send the same request again.",
            headers={"Retry-After": "2"},
        ) from error
