"""The operator's lane: actions of people as audited events, each with the gate's receipt of it.

The gate decides as it does about everything: nothing here writes the event bus.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from services.ingestion_gate.receipt_lookup import ReceiptLookup
from sluice_contracts import NO_PINS, STANDING, encode
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.receipts import ReceiptView

PRINCIPAL: Final = "operator"
LANE: Final = "ingress.operator"
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
class Action:
    """What the audit log will say: who did what to which target, and why.

    ``now`` is microseconds since 1970 UTC. ``original`` and ``original_lane`` are those of a release.
    """

    action_id: str
    kind: str
    subject: str
    target: str
    reason: str
    actor: Actor
    tenant: str
    now: int
    run_id: str = STANDING
    parent_event_id: str | None = None
    inputs_digest: str | None = None
    evidence_refs: Sequence[Mapping[str, Any]] = ()
    original: bytes | None = None
    original_lane: str | None = None


def action_event(action: Action, wiring: Wiring) -> bytes:
    """The ``governance_action`` event of an action."""
    return lane_event(
        "governance_action",
        action.action_id,
        action.tenant,
        action.now,
        _payload(action, wiring),
        run_id=action.run_id,
        parent_event_id=action.parent_event_id,
    )


def lane_event(
    event_type: str,
    event_id: str,
    tenant: str,
    now: int,
    payload: Mapping[str, Any],
    *,
    run_id: str = STANDING,
    parent_event_id: str | None = None,
) -> bytes:
    """A framed event of the operator's; ``now`` is microseconds since 1970 UTC."""
    fields = {
        "event_id": event_id,
        "event_type": event_type,
        "ts_utc": now,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": tenant,
        "parameter_hash": NO_PINS,
        "scenario_id": STANDING,
        "run_id": run_id,
        "seed": None,
        "emitted_at_utc": now,
        "producer": PRINCIPAL,
        "parent_event_id": parent_event_id,
        "traceparent": None,
        "payload": payload,
    }
    return encode(event_type, 1, fields)


def _payload(action: Action, wiring: Wiring) -> dict[str, Any]:
    return {
        "action_id": action.action_id,
        "subject": action.subject,
        "actor": {
            "type": "human",
            "id": action.actor.id,
            "roles": list(action.actor.roles),
            "on_behalf_of": None,
        },
        "scope": {"tenant": action.tenant, "environment": wiring.environment, "region": wiring.region},
        "outcome": "allowed",
        "reason": action.reason,
        "latency_ms": None,
        "inputs_digest": action.inputs_digest,
        "policy_decisions": [],
        "evidence_refs": list(action.evidence_refs),
        "kind": action.kind,
        "target": action.target,
        "original": action.original,
        "original_lane": action.original_lane,
    }


class OperatorLane:
    """Blocking, for worker threads. Raises OperatorLaneAwayError, FetchTimeoutError."""

    def __init__(
        self,
        wiring: Wiring,
        lookup: ReceiptLookup,
        wait: Callable[[float], None],
        *,
        receipt_seconds: float = 10.0,
    ) -> None:
        self._wiring, self._lookup, self._wait = wiring, lookup, wait
        self._receipt_seconds = receipt_seconds
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._sent: OrderedDict[str, bytes] = OrderedDict()

    def event(self, action: Action) -> bytes:
        """The event of an action, in this deployment's scope."""
        return action_event(action, self._wiring)

    def receipt(self, action_id: str) -> ReceiptView | None:
        """The first receipt of an action."""
        return next(iter(self._lookup.receipts(action_id).receipts), None)

    def put(self, action_id: str, value: bytes) -> ReceiptView | None:
        """Put an action on the lane and wait for its receipt; None: not decided in time.

        A retry sends the bytes of the first try: the payload hash covers the time of the action.
        """
        self._send(action_id, value)
        deadline = time.monotonic() + self._receipt_seconds
        while (receipt := self.receipt(action_id)) is None and time.monotonic() < deadline:
            self._wait(_LOOK_SECONDS)
        return receipt

    def close(self) -> None:
        """Give the broker a moment for what is under way."""
        with self._lock:
            if self._producer is not None:
                self._producer.flush(_DELIVERY_SECONDS)

    def _send(self, action_id: str, value: bytes) -> None:
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
