"""Orders to the degrade ladder, by way of the operator's lane. The ladder says whether it can follow."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from services.ingestion_gate.operator_desk import Ordered, Refused, no_such_tenant
from services.ingestion_gate.operator_lane import Action, Actor, OperatorLane
from sluice_contracts import derived_id
from sluice_decisions.posture_orders import target_text
from sluice_decisions.postures import Posture

_TENANT: Final = "tenant:"


@dataclass(frozen=True, slots=True)
class PostureOrder:
    """What an operator asks for; ``rung`` None for a release. ``now`` is microseconds since 1970 UTC."""

    kind: str
    scope: str
    rung: Posture | None
    reason: str
    idempotency_key: str
    actor: Actor
    now: int

    @property
    def target(self) -> str:
        """As the audit log writes it."""
        return target_text(self.scope, self.rung)

    @property
    def action_id(self) -> str:
        """The id of the governance action: the same for a retry."""
        return derived_id("sluice.governance.v1", self.kind, self.target, self.idempotency_key)


class PostureDesk:
    """Blocking, for worker threads. ``tenants`` gives those of the gate's policy in force."""

    def __init__(self, lane: OperatorLane, tenants: Callable[[], Collection[str]]) -> None:
        self._lane, self._tenants = lane, tenants

    def carry_out(self, order: PostureOrder, *, dry_run: bool) -> Ordered | Refused:
        """Put the order on the lane and wait for its receipt; a retry gets the receipt of the first.

        Raises OperatorLaneAwayError, FetchTimeoutError.
        """
        known = self._lane.receipt(order.action_id)
        if known is not None:
            return Ordered(known)
        tenant = self._tenant_of(order.scope)
        if isinstance(tenant, Refused):
            return tenant
        if dry_run:
            return Ordered(None)
        action = Action(
            action_id=order.action_id,
            kind=order.kind,
            subject=f"posture:{order.scope}",
            target=order.target,
            reason=order.reason,
            actor=order.actor,
            tenant=tenant,
            now=order.now,
        )
        return Ordered(self._lane.put(order.action_id, self._lane.event(action)))

    def _tenant_of(self, scope: str) -> str | Refused:
        """Whose event the action is: a tenant's own, else `default`'s or that of the first tenant."""
        known = self._tenants()
        if not scope.startswith(_TENANT):
            return "default" if "default" in known else min(known, default="default")
        tenant = scope.removeprefix(_TENANT)
        return tenant if tenant in known else no_such_tenant(tenant, known)
