"""Releases and discards of quarantined records, by way of the operator's lane."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.ingestion_gate.governance_ledger import DISCARD, RELEASE, QuarantineStatus
from services.ingestion_gate.operator_lane import Action, Actor, OperatorLane
from services.ingestion_gate.quarantine_view import Original, QuarantineItem, QuarantineView
from services.ingestion_gate.receipt_lookup import ReceiptLookup
from sluice_contracts import STANDING, derived_id
from sluice_kit.receipts import ReceiptView


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asks for. ``now`` is microseconds since 1970 UTC."""

    kind: str
    quarantine_id: str
    reason: str
    idempotency_key: str
    actor: Actor
    now: int

    @property
    def action_id(self) -> str:
        """The id of the governance action: the same for a retry."""
        return derived_id("sluice.governance.v1", self.kind, self.quarantine_id, self.idempotency_key)


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no such quarantined record."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be done; ``code`` is for programs."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """It was put on the lane (or would be, in a dry run). ``receipt`` None: not decided yet."""

    receipt: ReceiptView | None


def no_such_tenant(tenant: str, known: Collection[str]) -> Refused:
    """The gate's policy does not know the tenant that an order is about."""
    return Refused("NO_SUCH_TENANT", f"the gate's policy has no tenant {tenant}: {', '.join(sorted(known))}")


@dataclass(frozen=True, slots=True)
class Done:
    """It was put on the lane (or would be, in a dry run). ``receipt`` None: not decided yet."""

    action_id: str
    status: QuarantineStatus
    receipt: ReceiptView | None
    original: Sequence[ReceiptView] = ()
    dry_run: bool = False


class OperatorDesk:
    """Blocking, for worker threads. Raises OperatorLaneAwayError, FetchTimeoutError."""

    def __init__(
        self,
        quarantine: QuarantineView,
        lookup: ReceiptLookup,
        lane: OperatorLane,
        *,
        max_event_bytes: Callable[[], int],
    ) -> None:
        self._quarantine, self._lookup, self._lane = quarantine, lookup, lane
        self._max_event_bytes = max_event_bytes

    def carry_out(self, order: Order, *, dry_run: bool) -> Done | Refused | Unknown:
        """Put the action on the lane and wait for its receipt; a retry gets the receipt of the first."""
        found = self._quarantine.item(order.quarantine_id)
        if found is None:
            return Unknown()
        item, fields = found
        known = self._lane.receipt(order.action_id)
        if known is not None:
            return self._done(order, item, known)
        if item.status is not QuarantineStatus.OPEN:
            return Refused("ALREADY_SETTLED", f"{item.quarantine_id} is {item.status}")
        made = self._event(order, item, fields)
        if isinstance(made, Refused):
            return made
        if dry_run:
            return Done(order.action_id, item.status, None, dry_run=True)
        return self._done(order, item, self._lane.put(order.action_id, made))

    def _done(self, order: Order, item: QuarantineItem, receipt: ReceiptView | None) -> Done:
        settled = QuarantineStatus.RELEASED if order.kind == RELEASE else QuarantineStatus.DISCARDED
        admitted = receipt is not None and receipt.decision != "QUARANTINE"
        original: Sequence[ReceiptView] = ()
        if order.kind == RELEASE and admitted and item.event_id is not None:
            found = self._lookup.receipts(item.event_id, tenant=item.tenant, run_id=item.run_id).receipts
            original = [entry for entry in found if entry.origin == "released"]
        return Done(order.action_id, settled if admitted else item.status, receipt, original)

    def _event(self, order: Order, item: QuarantineItem, fields: Mapping[str, Any]) -> bytes | Refused:
        original: Original | None = None
        if order.kind == RELEASE:
            kept = self._quarantine.original(fields)
            if isinstance(kept, str):
                return Refused("NO_ORIGINAL", kept)
            original = kept
        value = self._lane.event(_action(order, item, fields, original))
        limit = self._max_event_bytes()
        if len(value) > limit:
            return Refused(
                "TOO_LARGE_TO_RELEASE",
                f"the release has {len(value)} bytes; the gate's policy allows {limit}",
            )
        return value


def _action(
    order: Order, item: QuarantineItem, fields: Mapping[str, Any], original: Original | None
) -> Action:
    ref = fields["payload"]["evidence_ref"]
    evidence = (
        []
        if ref is None
        else [
            {
                "uri": ref["uri"],
                "digest": {"algo": ref["digest_algo"], "hash": ref["digest_hash"]},
                "bytes": ref["bytes"],
                "schema_version": 1,
            }
        ]
    )
    return Action(
        action_id=order.action_id,
        kind=order.kind,
        subject=f"quarantine:{item.quarantine_id}",
        target=item.quarantine_id,
        reason=order.reason,
        actor=order.actor,
        tenant=item.tenant,
        now=order.now,
        run_id=item.run_id or STANDING,
        parent_event_id=item.quarantine_id,
        inputs_digest=None if original is None else hashlib.sha256(original.value).hexdigest(),
        evidence_refs=evidence,
        original=None if original is None else original.value,
        original_lane=None if original is None else original.lane,
    )


KINDS: Final = {"release": RELEASE, "discard": DISCARD}
