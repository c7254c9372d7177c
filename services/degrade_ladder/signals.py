"""Reports of services held against the policy. Pure.

What is kept of a required signal, for each shard, is a list `[at, value, event_id, {rung: above since}]`:
bounded by the policy, and enough to say for how long a limit has been exceeded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.degrade_ladder.model import Judged, SignalState, strictest, strictness
from services.degrade_ladder.policy import MICROSECONDS, STATUS, RequiredSignal
from sluice_decisions.postures import Posture

Reading = Sequence[Any]
"""`[at, value or None, event_id, {rung: since when its limit is exceeded}]`."""
_BAD = {"ok": 0, "degraded": 1}


def reading_of(
    signal: RequiredSignal, fields: Mapping[str, Any], before: Reading | None, now: int
) -> Reading | None:
    """What a report leaves of a signal; None when a newer one is known already.

    A report counts from the end of what it covers, so a late one is old from the first moment; an end in the
    future (a clock that is ahead) counts as `now`.
    """
    payload = fields["payload"]
    at = min(payload["window_end"], now)
    if before is not None and at < before[0]:
        return None
    value = _BAD[payload["status"]] if signal.name == STATUS else payload["values"].get(signal.name)
    since: Mapping[str, int] = {} if before is None else before[3]
    above = {
        rung.value: since.get(rung.value, at)
        for rung, limit in sorted(signal.limits.items())
        if value is not None and value > limit.above
    }
    return [at, value, fields["event_id"], above]


def raised_by(signal: RequiredSignal, reading: Reading) -> Posture:
    """The strictest rung whose limit has been exceeded for long enough in this reading; NORMAL for none."""
    at, _, _, above = reading
    if not above:
        return Posture.NORMAL
    return strictest(
        *(
            rung
            for rung, limit in signal.limits.items()
            if rung.value in above and at - above[rung.value] >= limit.for_seconds * MICROSECONDS
        )
    )


def judge(signal: RequiredSignal, reading: Callable[[int], Reading | None], now: int) -> Judged:
    """A signal over all its shards, the worst speaking; `reading(shard)` gives what is kept of a shard."""
    judged = [_judge_one(signal, reading(shard), now) for shard in range(signal.shards)]
    if len(judged) == 1:
        return judged[0]
    return max(
        judged, key=lambda one: (strictness(one.rung), one.state is SignalState.MISSING, one.value or 0)
    )


def _judge_one(signal: RequiredSignal, reading: Reading | None, now: int) -> Judged:
    if reading is None:
        return Judged(signal.service, signal.name, SignalState.MISSING, Posture.FAIL_CLOSED)
    at, value, event_id, _ = reading
    known = Judged(signal.service, signal.name, SignalState.OK, Posture.NORMAL, value, None, at, event_id)
    if value is None:
        return known._replace(state=SignalState.MISSING, rung=Posture.FAIL_CLOSED)
    longest = signal.max_age_seconds * MICROSECONDS
    if now - at > longest:
        return known._replace(state=SignalState.STALE, rung=Posture.FAIL_CLOSED)
    rung = raised_by(signal, reading)
    if rung is Posture.NORMAL:
        return known
    return known._replace(state=SignalState.RAISED, rung=rung, limit=signal.limits[rung].above)
