"""Operators' orders as they stand in `audit.governance`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.degrade_ladder.model import Force
from services.degrade_ladder.policy import MICROSECONDS, LadderPolicy
from sluice_decisions.posture_orders import KINDS, OVERRIDE, RELEASE, target_of
from sluice_decisions.postures import Posture


class Order(NamedTuple):
    """Force a scope, or with ``force`` None release it."""

    scope: str
    force: Force | None


class Ignored(NamedTuple):
    """An order that cannot be followed, and why."""

    event_id: str
    why: str


def order_of(fields: Mapping[str, Any], policy: LadderPolicy) -> Order | Ignored | None:
    """The order in a governance action; None for actions that are no orders to the ladder.

    An override ends `longest_override_seconds` after it was given, also for a ladder that reads it late.
    """
    payload, event_id = fields["payload"], fields["event_id"]
    kind = payload["kind"]
    if kind not in KINDS or payload["outcome"] != "allowed":
        return None
    scope, rung = target_of(payload["target"])
    if scope not in policy.scopes:
        return Ignored(
            event_id, f"the policy has no scope {scope}; it has {', '.join(sorted(policy.scopes))}"
        )
    if kind == RELEASE:
        return Order(scope, None)
    if rung not in set(Posture):
        return Ignored(event_id, f"{rung or 'nothing'} is no rung; give one of {', '.join(Posture)}")
    given = fields["ts_utc"]
    override = kind == OVERRIDE
    until = given + policy.longest_override_seconds * MICROSECONDS if override else None
    force = Force(Posture(rung), override, payload["actor"]["id"], payload["reason"], given, until, event_id)
    return Order(scope, force)
