"""Who may send how much: a token bucket and a count of events in flight for each principal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.ingest_edge.settings import EdgePolicy


@dataclass(frozen=True, slots=True)
class Busy:
    """No room now; ``retry_after`` is whole seconds until there may be."""

    code: str
    detail: str
    retry_after: int


@dataclass(slots=True)
class _Account:
    tokens: float
    filled: float
    in_flight: int = 0


class Limits:
    """Accounts of all principals. Times are seconds of a clock that never goes back."""

    def __init__(self, policy: EdgePolicy) -> None:
        self._policy = policy
        self._accounts: dict[str, _Account] = {}
        self.in_flight = 0

    def enter(self, principal: str, events: int, now: float) -> Busy | None:
        """Let ``events`` in, or say why not; whoever was let in calls ``leave``."""
        policy = self._policy
        account = self._accounts.get(principal)
        if account is None:
            account = self._accounts[principal] = _Account(policy.burst_events, now)
        if self.in_flight + events > policy.in_flight_events_total:
            detail = f"{self.in_flight} events of all publishers wait for the gate"
            return Busy("EDGE_BUSY", detail, policy.retry_after_seconds)
        if account.in_flight + events > policy.in_flight_events:
            detail = (
                f"{account.in_flight} events of {principal} wait for the gate; {policy.in_flight_events} may"
            )
            return Busy("TOO_MANY_IN_FLIGHT", detail, policy.retry_after_seconds)
        earned = max(0.0, now - account.filled) * policy.events_per_second
        account.tokens, account.filled = min(policy.burst_events, account.tokens + earned), now
        if account.tokens < events:
            seconds = math.ceil((events - account.tokens) / policy.events_per_second)
            detail = f"{principal} may send {policy.events_per_second:g} events a second"
            return Busy("RATE_LIMITED", detail, max(1, seconds))
        account.tokens -= events
        account.in_flight += events
        self.in_flight += events
        return None

    def leave(self, principal: str, events: int) -> None:
        """The events were answered."""
        self._accounts[principal].in_flight -= events
        self.in_flight -= events
