"""How a stage says how it is doing: a service_signal on its lane, at most one a second of `now`. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from sluice_contracts import NO_PINS, STANDING, contract_for, derived_id
from sluice_kit.stage.model import TrailingOutput

SIGNAL_EVERY: Final = 1_000_000
"""Microseconds of `now` between two signals of a stage."""
_SIGNAL: Final = contract_for("service_signal", 1)


def service_signal(
    service: str,
    shard: int,
    values: Mapping[str, int],
    *,
    degraded: bool,
    since: int,
    now: int,
    tenant: str = "default",
) -> TrailingOutput:
    """The signal over `since` to `now` (microseconds), on the service's own lane.

    `values` are written in the order given, so a stage keeps to one.
    """
    event_id = derived_id("sluice.service_signal.v1", service, shard, now // SIGNAL_EVERY)
    payload = {
        "service": service,
        "shard": shard,
        "status": "degraded" if degraded else "ok",
        "values": dict(values),
        "window_start": since,
        "window_end": now,
    }
    envelope = control_envelope("service_signal", event_id, service, now, tenant=tenant)
    return TrailingOutput(
        f"ingress.{service}", STANDING.encode(), _SIGNAL.encode({**envelope, "payload": payload})
    )


def control_envelope(
    event_type: str,
    event_id: str,
    service: str,
    now: int,
    *,
    tenant: str = "default",
    parent: str | None = None,
) -> dict[str, Any]:
    """The envelope of a control event that a stage makes at `now`: it belongs to no run and no world."""
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
        "seed": None,
        "emitted_at_utc": None,
        "producer": service,
        "parent_event_id": parent,
        "traceparent": None,
    }
