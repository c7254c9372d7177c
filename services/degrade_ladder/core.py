"""The ladder's step: pure. Takes reports and orders in, moves every scope, says what changed or runs out.

The state: `scope|S` (a Standing), `signal|S|service|name|shard` (a Reading), `ladder` (policy fingerprint and
last `now`), `beat` (counts since the last heartbeat), `ignored` (the last orders that could not be followed).
All of it is bounded by the policy, and by the scopes that any policy ever had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.degrade_ladder.events import heartbeat, posture_event
from services.degrade_ladder.ladder import due, first_standing, move
from services.degrade_ladder.model import Call, Cause, Judged, SignalState, Standing, strictest, strictness
from services.degrade_ladder.orders import Ignored, Order, order_of
from services.degrade_ladder.policy import ALL, MICROSECONDS, LadderPolicy, RequiredSignal
from services.degrade_ladder.signals import judge, raised_by, reading_of
from sluice_contracts import Decoded, decode
from sluice_decisions.postures import Posture
from sluice_kit.stage import Batch, StepResult
from sluice_kit.stage.environment import lag_values
from sluice_kit.stage.keyed_state import KeyedOverlay

SIGNALS: Final = "control.heartbeat"
ORDERS: Final = "audit.governance"
KEPT_IGNORED: Final = 10
_COUNTS: Final = {"at": 0, "reports": 0, "orders": 0, "errors": 0}


def step(overlay: KeyedOverlay, batch: Batch, policy: LadderPolicy, fingerprint: str) -> StepResult:
    """Move every scope by what the batch brings and by the time that has passed.

    `fingerprint` is the policy's; when it changes, signals that only another policy required are dropped.
    """
    _keep_to_policy(overlay, batch.now, policy, fingerprint)
    result = StepResult()
    spikes: dict[str, Posture] = {}
    for index, record in enumerate(batch.records):
        found = decode(record.value)
        if index in batch.poison or not isinstance(found, Decoded):
            result.quarantined["POISON" if index in batch.poison else "UNREADABLE"] += 1
            _count(overlay, "errors")
            continue
        match found.contract.event_type:
            case "service_signal":
                _take_report(overlay, found.fields, batch.now, policy, spikes)
            case "governance_action":
                _take_order(overlay, found.fields, batch.now, policy)
            case _:
                pass
    _move_scopes(overlay, batch.now, policy, spikes, result)
    _beat(overlay, batch, policy, result)
    return result


def judged_signals(
    values: Mapping[str, Any] | KeyedOverlay, scope: str, now: int, policy: LadderPolicy
) -> list[Judged]:
    """The required signals of a scope as they stand at `now`, in the policy's order."""

    def one(signal: RequiredSignal) -> Judged:
        return judge(signal, lambda shard: values.get(_signal_key(scope, signal, shard)), now)

    return [one(signal) for signal in policy.scopes[scope].signals]


def ordered_scopes(policy: LadderPolicy) -> list[str]:
    """`all` first: the others are never milder than it."""
    return [ALL, *sorted(set(policy.scopes) - {ALL})]


def scope_key(scope: str) -> str:
    """Where the state keeps a scope's standing."""
    return f"scope|{scope}"


def _signal_key(scope: str, signal: RequiredSignal, shard: int) -> str:
    return f"signal|{scope}|{signal.service}|{signal.name}|{shard}"


def _keep_to_policy(overlay: KeyedOverlay, now: int, policy: LadderPolicy, fingerprint: str) -> None:
    """Drop signals that only another policy required.

    The standing of a scope that left stays: its force holds until released, and its postures count on when it
    comes back. From the start again, they would have the ids of others that the gate already knows.
    """
    known = overlay.get("ladder")
    if known is None or known["policy"] != fingerprint:
        required = {
            _signal_key(scope, one, shard)
            for scope, rules in policy.scopes.items()
            for one in rules.signals
            for shard in range(one.shards)
        }
        for key, _ in list(overlay.items("signal|")):
            if key not in required:
                overlay.remove(key)
    overlay.put("ladder", {"policy": fingerprint, "now": now})


def _take_report(
    overlay: KeyedOverlay,
    fields: Mapping[str, Any],
    now: int,
    policy: LadderPolicy,
    spikes: dict[str, Posture],
) -> None:
    """Keep a report; what it calls for counts even when the next report of the same batch is milder."""
    payload = fields["payload"]
    _count(overlay, "reports")
    for scope in ordered_scopes(policy):
        for signal in policy.scopes[scope].signals:
            if signal.service != payload["service"] or payload["shard"] >= signal.shards:
                continue
            key = _signal_key(scope, signal, payload["shard"])
            reading = reading_of(signal, fields, overlay.get(key), now)
            if reading is not None:
                overlay.put(key, reading)
                spikes[scope] = strictest(spikes.get(scope, Posture.NORMAL), raised_by(signal, reading))


def _take_order(overlay: KeyedOverlay, fields: Mapping[str, Any], now: int, policy: LadderPolicy) -> None:
    match order_of(fields, policy):
        case Order(scope, force):
            _count(overlay, "orders")
            standing = _standing(overlay, scope, now)
            overlay.put(scope_key(scope), standing._replace(force=force).as_json())
        case Ignored(event_id, why):
            _count(overlay, "errors")
            kept = overlay.get("ignored") or []
            overlay.put("ignored", [*kept, [event_id, why]][-KEPT_IGNORED:])
        case None:
            pass


def _standing(overlay: KeyedOverlay, scope: str, now: int) -> Standing:
    stored = overlay.get(scope_key(scope))
    return first_standing(now) if stored is None else Standing.from_json(stored)


def _move_scopes(
    overlay: KeyedOverlay, now: int, policy: LadderPolicy, spikes: Mapping[str, Posture], result: StepResult
) -> None:
    over_all = Posture.NORMAL
    for scope in ordered_scopes(policy):
        before = _standing(overlay, scope, now)
        judged = judged_signals(overlay, scope, now, policy)
        call = _call(judged, spikes.get(scope, Posture.NORMAL), over_all)
        after = move(before, call, now, policy)
        if due(before, after, now, policy):
            after = after._replace(sequence=after.sequence + 1, sent_at=now)
            result.trailing.append(posture_event(scope, after, judged, now, policy))
        if after != before:
            overlay.put(scope_key(scope), after.as_json())
        if scope == ALL:
            over_all = after.rung


_CAUSE_OF: Final = {
    SignalState.MISSING: Cause.SIGNAL_MISSING,
    SignalState.STALE: Cause.SIGNAL_STALE,
    SignalState.RAISED: Cause.LIMIT_EXCEEDED,
}


def _call(judged: list[Judged], spike: Posture, over_all: Posture) -> Call:
    """The strictest rung that anything calls for, with the causes of those that call for it."""
    rung = strictest(spike, over_all, *(one.rung for one in judged))
    if rung is Posture.NORMAL:
        return Call(rung)
    causes = {_CAUSE_OF[one.state] for one in judged if one.rung is rung}
    if spike is rung:
        causes.add(Cause.LIMIT_EXCEEDED)
    if over_all is rung:
        causes.add(Cause.SCOPE_ALL)
    return Call(rung, frozenset(causes))


def _count(overlay: KeyedOverlay, name: str) -> None:
    counts = overlay.get("beat") or _COUNTS
    overlay.put("beat", {**counts, name: counts[name] + 1})


def _beat(overlay: KeyedOverlay, batch: Batch, policy: LadderPolicy, result: StepResult) -> None:
    """Report once a second of `now`."""
    counts, now = overlay.get("beat") or _COUNTS, batch.now
    if now - counts["at"] < MICROSECONDS:
        return
    start = counts["at"] or now
    standings = [_standing(overlay, scope, now) for scope in ordered_scopes(policy)]
    values = {
        "events": counts["reports"] + counts["orders"],
        "errors": counts["errors"],
        "rung": max(strictness(standing.rung) for standing in standings),
        "forced": sum(standing.force is not None for standing in standings),
        **lag_values(batch.environment),
    }
    degraded = counts["errors"] > 0
    result.trailing.append(heartbeat(values, degraded=degraded, start=start, now=now, tenant=policy.tenant))
    overlay.put("beat", {**_COUNTS, "at": now})
