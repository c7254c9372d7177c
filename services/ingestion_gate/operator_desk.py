"""Releases and discards of quarantined records: an audited event on the operator's lane and its receipt.

The gate decides as it does about everything: nothing here writes the event bus.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from services.ingestion_gate.governance_ledger import DISCARD, RELEASE, QuarantineStatus
from services.ingestion_gate.quarantine_view import Original, QuarantineItem, QuarantineView
from services.ingestion_gate.receipt_lookup import ReceiptLookup
from services.ingestion_gate.receipts import NO_PINS
from sluice_contracts import derived_id, encode
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.receipts import ReceiptView

PRINCIPAL: Final = "operator"
LANE: Final = "ingress.operator"
STANDING: Final = "standing"
_REMEMBERED: Final = 1_000
_DELIVERY_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2


class OperatorLaneAwayError(Exception):
    """The operator's lane did not acknowledge the action; the same request may be sent again."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The person behind a request."""

    id: str
    roles: tuple[str, ...] = ()


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
        wiring: Wiring,
        quarantine: QuarantineView,
        lookup: ReceiptLookup,
        wait: Callable[[float], None],
        *,
        max_event_bytes: Callable[[], int],
        receipt_seconds: float = 10.0,
    ) -> None:
        self._wiring, self._quarantine, self._lookup, self._wait = wiring, quarantine, lookup, wait
        self._max_event_bytes, self._receipt_seconds = max_event_bytes, receipt_seconds
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._sent: OrderedDict[str, bytes] = OrderedDict()

    def carry_out(self, order: Order, *, dry_run: bool) -> Done | Refused | Unknown:
        """Put the action on the lane and wait for its receipt; a retry gets the receipt of the first."""
        found = self._quarantine.item(order.quarantine_id)
        if found is None:
            return Unknown()
        item, fields = found
        known = self._receipt(order.action_id)
        if known is not None:
            return self._done(order, item, known)
        if item.status is not QuarantineStatus.OPEN:
            return Refused("ALREADY_SETTLED", f"{item.quarantine_id} is {item.status}")
        made = self._event(order, item, fields)
        if isinstance(made, Refused):
            return made
        if dry_run:
            return Done(order.action_id, item.status, None, dry_run=True)
        self._send(order.action_id, made)
        deadline = time.monotonic() + self._receipt_seconds
        while (receipt := self._receipt(order.action_id)) is None and time.monotonic() < deadline:
            self._wait(_LOOK_SECONDS)
        return self._done(order, item, receipt)

    def close(self) -> None:
        """Give the broker a moment for what is under way."""
        with self._lock:
            if self._producer is not None:
                self._producer.flush(_DELIVERY_SECONDS)

    def _done(self, order: Order, item: QuarantineItem, receipt: ReceiptView | None) -> Done:
        settled = QuarantineStatus.RELEASED if order.kind == RELEASE else QuarantineStatus.DISCARDED
        admitted = receipt is not None and receipt.decision != "QUARANTINE"
        original: Sequence[ReceiptView] = ()
        if order.kind == RELEASE and admitted and item.event_id is not None:
            found = self._lookup.receipts(item.event_id, tenant=item.tenant, run_id=item.run_id).receipts
            original = [entry for entry in found if entry.origin == "released"]
        return Done(order.action_id, settled if admitted else item.status, receipt, original)

    def _receipt(self, action_id: str) -> ReceiptView | None:
        """The first receipt of an action."""
        return next(iter(self._lookup.receipts(action_id).receipts), None)

    def _event(self, order: Order, item: QuarantineItem, fields: Mapping[str, Any]) -> bytes | Refused:
        original: Original | None = None
        if order.kind == RELEASE:
            kept = self._quarantine.original(fields)
            if isinstance(kept, str):
                return Refused("NO_ORIGINAL", kept)
            original = kept
        value = encode("governance_action", 1, self._fields(order, item, fields, original))
        limit = self._max_event_bytes()
        if len(value) > limit:
            return Refused(
                "TOO_LARGE_TO_RELEASE",
                f"the release has {len(value)} bytes; the gate's policy allows {limit}",
            )
        return value

    def _fields(
        self, order: Order, item: QuarantineItem, fields: Mapping[str, Any], original: Original | None
    ) -> dict[str, Any]:
        ref = fields["payload"]["evidence_ref"]
        return {
            "event_id": order.action_id,
            "event_type": "governance_action",
            "ts_utc": order.now,
            "schema_version": 1,
            "manifest_fingerprint": NO_PINS,
            "tenant": item.tenant,
            "parameter_hash": NO_PINS,
            "scenario_id": STANDING,
            "run_id": item.run_id or STANDING,
            "seed": None,
            "emitted_at_utc": order.now,
            "producer": PRINCIPAL,
            "parent_event_id": item.quarantine_id,
            "traceparent": None,
            "payload": {
                "action_id": order.action_id,
                "subject": f"quarantine:{item.quarantine_id}",
                "actor": {
                    "type": "human",
                    "id": order.actor.id,
                    "roles": list(order.actor.roles),
                    "on_behalf_of": None,
                },
                "scope": {
                    "tenant": item.tenant,
                    "environment": self._wiring.environment,
                    "region": self._wiring.region,
                },
                "outcome": "allowed",
                "reason": order.reason,
                "latency_ms": None,
                "inputs_digest": None if original is None else hashlib.sha256(original.value).hexdigest(),
                "policy_decisions": [],
                "evidence_refs": []
                if ref is None
                else [
                    {
                        "uri": ref["uri"],
                        "digest": {"algo": ref["digest_algo"], "hash": ref["digest_hash"]},
                        "bytes": ref["bytes"],
                        "schema_version": 1,
                    }
                ],
                "kind": order.kind,
                "target": item.quarantine_id,
                "original": None if original is None else original.value,
                "original_lane": None if original is None else original.lane,
            },
        }

    def _send(self, action_id: str, value: bytes) -> None:
        """A retry sends the bytes of the first try: the payload hash covers the time of the action."""
        outcome: list[KafkaError | None] = []
        with self._lock:
            if self._producer is None:
                config = idempotent_producer_config(self._wiring, PRINCIPAL)
                self._producer = Producer(config | {"message.timeout.ms": int(_DELIVERY_SECONDS * 1000)})
            value = self._sent.setdefault(action_id, value)
            if len(self._sent) > _REMEMBERED:
                self._sent.popitem(last=False)
            try:
                self._producer.produce(
                    LANE, value, STANDING.encode(), on_delivery=lambda error, _: outcome.append(error)
                )
                self._producer.flush(_DELIVERY_SECONDS)
            except (BufferError, KafkaException) as error:
                raise OperatorLaneAwayError(str(error)) from error
        if not outcome or outcome[0] is not None:
            said = outcome[0].str() if outcome and outcome[0] is not None else "no answer in time"
            raise OperatorLaneAwayError(f"{LANE} did not acknowledge: {said}")


KINDS: Final = {"release": RELEASE, "discard": DISCARD}
