"""REST of the ladder: where every scope stands and why, from what is committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.degrade_ladder.core import judged_signals, ordered_scopes, scope_key
from services.degrade_ladder.events import valid_until
from services.degrade_ladder.model import Cause, Force, Judged, SignalState, Standing
from services.degrade_ladder.policy import LadderPolicy
from sluice_decisions.postures import Capability, Posture
from sluice_kit.http import ProblemError
from sluice_kit.receipts import moment_text
from sluice_kit.stage.keyed_state import KeyedState


class SignalView(BaseModel):
    """A required signal. ``calls_for``: the mildest rung that it allows."""

    service: str
    name: str
    state: SignalState
    calls_for: Posture
    value: int | None
    limit: int | None = Field(description="the limit that it exceeds")
    age_seconds: float | None = Field(description="of its newest report")


class ForceView(BaseModel):
    """An operator's order in force. An override holds exactly its rung; a force is a floor."""

    posture: Posture
    override: bool
    by: str
    reason: str
    at: str
    until: str | None
    action_id: str


class ScopeView(BaseModel):
    """Where a scope stands. The posture counts as FAIL_CLOSED after ``valid_until``."""

    scope: str
    posture: Posture
    capabilities: list[Capability]
    causes: list[Cause]
    since: str
    valid_until: str
    previous: Posture | None
    sequence: int
    force: ForceView | None
    signals: list[SignalView]


class IgnoredOrder(BaseModel):
    """An order that could not be followed."""

    action_id: str
    why: str


class PostureView(BaseModel):
    """All scopes, as of the last committed batch."""

    as_of: str | None
    policy_revision: str
    policy_fingerprint: str
    scopes: list[ScopeView]
    ignored_orders: list[IgnoredOrder]


class LadderApi:
    """What the routes use."""

    def __init__(self, policy: LadderPolicy, state: KeyedState) -> None:
        self._policy, self._state = policy, state

    def view(self, scope: str | None) -> PostureView:
        """The committed state; raises ProblemError (404) for a scope that the policy has not."""
        policy, values = self._policy, dict(self._state.values)
        if scope is not None and scope not in policy.scopes:
            raise ProblemError(
                404,
                "NO_SUCH_SCOPE",
                f"the policy has no scope {scope}",
                action=f"Ask for one of: {', '.join(ordered_scopes(policy))}.",
            )
        ladder = values.get("ladder")
        return PostureView(
            as_of=None if ladder is None else moment_text(ladder["now"]),
            policy_revision=policy.revision,
            policy_fingerprint=policy.fingerprint(),
            scopes=[
                scope_view(name, values, ladder["now"], policy)
                for name in ordered_scopes(policy)
                if scope in {None, name} and ladder is not None and scope_key(name) in values
            ],
            ignored_orders=[IgnoredOrder(action_id=one, why=why) for one, why in values.get("ignored", [])],
        )


def scope_view(scope: str, values: Mapping[str, Any], now: int, policy: LadderPolicy) -> ScopeView:
    """A scope in words and numbers."""
    standing = Standing.from_json(values[scope_key(scope)])
    return ScopeView(
        scope=scope,
        posture=standing.rung,
        capabilities=sorted(policy.capabilities[standing.rung]),
        causes=list(standing.causes),
        since=moment_text(standing.since),
        valid_until=moment_text(valid_until(standing, policy)),
        previous=standing.previous,
        sequence=standing.sequence,
        force=None if standing.force is None else _force_view(standing.force),
        signals=[_signal_view(one, now) for one in judged_signals(values, scope, now, policy)],
    )


def _force_view(force: Force) -> ForceView:
    return ForceView(
        posture=force.rung,
        override=force.override,
        by=force.by,
        reason=force.reason,
        at=moment_text(force.at),
        until=None if force.until is None else moment_text(force.until),
        action_id=force.event_id,
    )


def _signal_view(judged: Judged, now: int) -> SignalView:
    return SignalView(
        service=judged.service,
        name=judged.name,
        state=judged.state,
        calls_for=judged.rung,
        value=judged.value,
        limit=judged.limit,
        age_seconds=None if judged.at is None else (now - judged.at) / 1_000_000,
    )


def router(api: LadderApi) -> APIRouter:
    """Build the ladder's ``/v1`` routes."""
    routes = APIRouter(prefix="/v1", tags=["posture"])

    @routes.get("/posture")
    def posture(
        scope: Annotated[str | None, Query(description="all, or tenant:NAME; all of them without")] = None,
    ) -> PostureView:
        """The posture of every scope with the signals that it follows from."""
        return api.view(scope)

    return routes
