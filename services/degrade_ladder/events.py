"""What the ladder puts on its lane: postures and its own heartbeat. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from services.degrade_ladder.model import Cause, Judged, SignalState, Standing
from services.degrade_ladder.policy import ALL, MICROSECONDS, LadderPolicy
from sluice_contracts import STANDING, contract_for, derived_id
from sluice_kit.stage import TrailingOutput
from sluice_kit.stage.service_signal import control_envelope, service_signal

SERVICE: Final = "degrade_ladder"
LANE: Final = "ingress.degrade_ladder"
_POSTURE: Final = contract_for("posture", 1)


def posture_event(
    scope: str, standing: Standing, judged: Sequence[Judged], now: int, policy: LadderPolicy
) -> TrailingOutput:
    """The posture that `standing` is; its parent is the order or the report that called for it."""
    force = standing.force
    against = [one for one in judged if one.state is not SignalState.OK]
    parent = next((one.event_id for one in against if one.event_id is not None), None)
    if force is not None and {Cause.FORCED, Cause.OVERRIDDEN} & set(standing.causes):
        parent = force.event_id
    payload = {
        "scope": scope,
        "posture": standing.rung.value,
        "capabilities": sorted(policy.capabilities[standing.rung]),
        "sequence": standing.sequence,
        "since": standing.since,
        "valid_until": valid_until(standing, policy),
        "previous": None if standing.previous is None else standing.previous.value,
        "causes": [cause.value for cause in standing.causes],
        "forced_by": None if force is None else force.by,
        "signals": [
            {
                "service": one.service,
                "name": one.name,
                "state": one.state.value,
                "value": one.value,
                "limit": one.limit,
            }
            for one in against
        ],
        "policy_revision": policy.revision,
    }
    event_id = derived_id("sluice.posture.v1", scope, standing.sequence)
    tenant = policy.tenant if scope == ALL else scope.partition(":")[2]
    envelope = control_envelope("posture", event_id, SERVICE, now, tenant=tenant, parent=parent)
    return TrailingOutput(LANE, STANDING.encode(), _POSTURE.encode({**envelope, "payload": payload}))


def valid_until(standing: Standing, policy: LadderPolicy) -> int:
    """Until when the posture that was put out last holds, microseconds of basis `now`."""
    return standing.sent_at + policy.valid_for_seconds * MICROSECONDS


def heartbeat(
    values: Mapping[str, int], *, degraded: bool, start: int, now: int, tenant: str
) -> TrailingOutput:
    """The ladder's report of itself over `start` to `now`, microseconds."""
    in_order = dict(sorted(values.items()))
    return service_signal(SERVICE, 0, in_order, degraded=degraded, since=start, now=now, tenant=tenant)
