"""How a scope moves on the ladder: down at once, up one rung at a time. Pure."""

from __future__ import annotations

from services.degrade_ladder.model import RUNGS, Call, Cause, Standing, in_order, strictest, strictness
from services.degrade_ladder.policy import MICROSECONDS, LadderPolicy
from sluice_decisions.postures import Posture


def first_standing(now: int) -> Standing:
    """A scope of which nothing is known yet."""
    return Standing(Posture.FAIL_CLOSED, now, now)


def move(standing: Standing, call: Call, now: int, policy: LadderPolicy) -> Standing:
    """Where the scope stands once `call` has been heard at `now`.

    An override that is in force is where the scope stands, whatever the signals call for. A force without
    override is a floor: the scope is never milder than it.
    """
    force = standing.force
    if force is not None and force.lapsed(now):
        standing, force = standing._replace(force=None), None
    if force is not None and force.override:
        held = standing if standing.rung is force.rung else _taken(standing, force.rung, now)
        return held._replace(quiet_since=now, starting=False, causes=(Cause.OVERRIDDEN,))
    wanted = call.rung if force is None else strictest(call.rung, force.rung)
    moved = _moved(standing, wanted, now, policy)
    return moved._replace(causes=_causes(moved, call))


def due(before: Standing, after: Standing, now: int, policy: LadderPolicy) -> bool:
    """Whether a posture is to be put out: something about it changed, or it has to be renewed."""
    said = (before.rung, before.causes, before.force)
    if after.sequence < 0 or said != (after.rung, after.causes, after.force):
        return True
    return now - after.sent_at >= policy.renew_every_seconds * MICROSECONDS


def _moved(standing: Standing, wanted: Posture, now: int, policy: LadderPolicy) -> Standing:
    rung = standing.rung
    if strictness(wanted) > strictness(rung):
        return _taken(standing, wanted, now)._replace(starting=False)
    if wanted is rung:
        if rung is Posture.NORMAL:
            return standing
        starting = standing.starting and rung is Posture.FAIL_CLOSED
        return standing._replace(quiet_since=now, starting=starting)
    if standing.starting:
        quiet = least = policy.start_quiet_seconds
    else:
        quiet, least = policy.quiet_seconds[rung], policy.minimum_seconds
    if now - standing.quiet_since < quiet * MICROSECONDS or now - standing.since < least * MICROSECONDS:
        return standing
    higher = _taken(standing, RUNGS[strictness(rung) - 1], now)
    return higher._replace(starting=standing.starting and higher.rung is not wanted)


def _taken(standing: Standing, rung: Posture, now: int) -> Standing:
    return standing._replace(rung=rung, since=now, quiet_since=now, previous=standing.rung)


def _causes(moved: Standing, call: Call) -> tuple[Cause, ...]:
    causes: set[Cause] = set()
    if strictness(call.rung) >= strictness(moved.rung):
        causes |= call.causes
    if moved.force is not None and moved.force.rung is moved.rung:
        causes.add(Cause.FORCED)
    if moved.rung is not Posture.NORMAL and not causes:
        causes.add(Cause.RECOVERING)
    if moved.starting:
        causes.add(Cause.START)
    return in_order(causes)
