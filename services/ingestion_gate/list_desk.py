"""Changes of the lists that decision rules read, by way of the operator's lane.

A change is two events: the audited action, which says who did it and why, and, once the gate has admitted
that, the `list_changed` that it causes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from services.ingestion_gate.operator_desk import Ordered, Refused, no_such_tenant
from services.ingestion_gate.operator_lane import Action, Actor, OperatorLane, lane_event
from sluice_contracts import derived_id

ADD: Final = "list_add"
REMOVE: Final = "list_remove"
_OPERATIONS: Final = {ADD: "ADD", REMOVE: "REMOVE"}


@dataclass(frozen=True, slots=True)
class ListOrder:
    """What an operator asks for: ``kind`` is ADD or REMOVE. ``now`` is microseconds since 1970 UTC."""

    kind: str
    tenant: str
    name: str
    entry: str
    reason: str
    idempotency_key: str
    actor: Actor
    now: int

    @property
    def target(self) -> str:
        """As the audit log writes it."""
        return f"{self.name}={self.entry}"

    @property
    def action_id(self) -> str:
        """The id of the governance action: the same for a retry."""
        return derived_id("sluice.governance.v1", self.kind, self.tenant, self.target, self.idempotency_key)

    @property
    def change_id(self) -> str:
        """The id of the list_changed: one an action."""
        return derived_id("sluice.list_changed.v1", self.action_id)


class ListDesk:
    """Blocking, for worker threads. ``tenants`` gives those of the gate's policy in force."""

    def __init__(self, lane: OperatorLane, tenants: Callable[[], Collection[str]]) -> None:
        self._lane, self._tenants = lane, tenants

    def carry_out(self, order: ListOrder, *, dry_run: bool) -> Ordered | Refused:
        """Put action and change on the lane and wait for their receipts; a retry gets those of the first.

        The receipt is that of the change, or of the action where the gate did not admit that.
        A retry also puts the change there when the first try did not come to it.
        Raises OperatorLaneAwayError, FetchTimeoutError.
        """
        admitted = self._lane.receipt(order.action_id)
        if admitted is None:
            known = self._tenants()
            if order.tenant not in known:
                return no_such_tenant(order.tenant, known)
            if dry_run:
                return Ordered(None)
            admitted = self._lane.put(order.action_id, self._lane.event(_action(order)))
        if admitted is None or admitted.decision == "QUARANTINE":
            return Ordered(admitted)
        changed = self._lane.receipt(order.change_id)
        if changed is None and not dry_run:
            changed = self._lane.put(order.change_id, _change(order))
        return Ordered(changed)


def _action(order: ListOrder) -> Action:
    return Action(
        action_id=order.action_id,
        kind=order.kind,
        subject=f"list:{order.name}",
        target=order.target,
        reason=order.reason,
        actor=order.actor,
        tenant=order.tenant,
        now=order.now,
    )


def _change(order: ListOrder) -> bytes:
    payload: dict[str, Any] = {
        "list": order.name,
        "entry": order.entry,
        "operation": _OPERATIONS[order.kind],
        "cause_event_id": order.action_id,
        "reason": order.reason,
    }
    return lane_event(
        "list_changed", order.change_id, order.tenant, order.now, payload, parent_event_id=order.action_id
    )
