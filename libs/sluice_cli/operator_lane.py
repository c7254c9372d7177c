"""The operator's lane: the one road on which commands change what steers, answered by the gate's receipt."""

from __future__ import annotations

import time
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from sluice_cli.service_calls import RefusedError, ServiceCalls
from sluice_contracts import NO_PINS, STANDING
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config

PRINCIPAL: Final = "operator"
LANE: Final = "ingress.operator"
DELIVERY_SECONDS: Final = 10


def operator_event(event_type: str, event_id: str, now: int, tenant: str, payload: Any) -> dict[str, Any]:
    """An event of the operator's that belongs to no run; `now` is microseconds since 1970 UTC."""
    return {
        "event_id": event_id,
        "event_type": event_type,
        "ts_utc": now,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": tenant,
        "parameter_hash": NO_PINS,
        "scenario_id": STANDING,
        "run_id": STANDING,
        "producer": PRINCIPAL,
        "emitted_at_utc": now,
        "payload": payload,
    }


def put_on_lane(wiring: Wiring, event: bytes) -> None:
    """Put a framed event on the operator's lane. Raises RefusedError when the lane does not take it."""
    outcome: list[KafkaError | None] = []
    config = idempotent_producer_config(wiring, PRINCIPAL) | {"message.timeout.ms": DELIVERY_SECONDS * 1000}
    try:
        producer = Producer(config)
        producer.produce(LANE, event, STANDING.encode(), on_delivery=lambda error, _: outcome.append(error))
        producer.flush(DELIVERY_SECONDS + 1)
    except (BufferError, KafkaException) as error:
        raise RefusedError(f"{LANE} cannot be written: {error}") from error
    if not outcome or outcome[0] is not None:
        said = outcome[0].str() if outcome and outcome[0] is not None else "no answer in time"
        raise RefusedError(f"{LANE} cannot be written: {said}")


def receipt_now(calls: ServiceCalls, event_id: str) -> dict[str, Any] | None:
    """The gate's last receipt of an event, None when there is none yet."""
    try:
        found: dict[str, Any] = calls.get(f"/v1/receipts/{event_id}")["receipts"][-1]
    except RefusedError:
        return None
    return found


def awaited_receipt(calls: ServiceCalls, event_id: str, seconds: float, what: str) -> dict[str, Any]:
    """The receipt once it is there. Raises RefusedError after `seconds`; `what` is on its lane by then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = receipt_now(calls, event_id)
        if found is not None:
            return found
        time.sleep(0.2)
    raise RefusedError(
        f"no receipt within {seconds:g} s; {what} is on its lane: sluice receipt show {event_id}"
    )
