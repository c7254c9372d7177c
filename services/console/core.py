"""What was seen on the bus lately: decisions with their intents and outcomes, postures. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

WINDOW_SECONDS: Final = 60.0
KEPT_CHAINS: Final = 2_000
LATEST: Final = 14
_KEPT_IN_WINDOW: Final = 200_000
_KEPT_PARTS: Final = 20
_KEPT_SCOPES: Final = 200
OUTCOMES: Final = ("ALLOW", "STEP_UP", "REVIEW", "DECLINE")

Fields = Mapping[str, Any]


@dataclass(slots=True)
class Chain:
    """What is known of one payment's decision; each part holds decoded events."""

    decision: Fields | None = None
    intents: list[Fields] = field(default_factory=list)
    outcomes: list[Fields] = field(default_factory=list)


class Seen:
    """A bounded memory of what the reader brought. `now` is seconds, monotonic."""

    def __init__(self) -> None:
        self._chains: OrderedDict[str, Chain] = OrderedDict()
        self._window: deque[tuple[float, str, str]] = deque(maxlen=_KEPT_IN_WINDOW)
        self._latest: deque[Fields] = deque(maxlen=LATEST)
        self._postures: dict[str, Fields] = {}

    def take(self, now: float, event: Fields) -> None:
        """One decoded event; types that the console does not follow are passed over."""
        payload = event["payload"]
        match event["event_type"]:
            case "decision":
                self._chain(payload["subject_event_id"]).decision = event
                self._window.append((now, payload["outcome"], payload["mode"]))
                self._latest.appendleft(event)
            case "action_intent":
                _bounded(self._chain(payload["subject_event_id"]).intents, event)
            case "action_outcome":
                _bounded(self._chain(payload["subject_event_id"]).outcomes, event)
            case "posture":
                self._take_posture(event)
            case _:
                pass

    def chain(self, subject_event_id: str) -> Chain | None:
        """What is still kept of a payment."""
        return self._chains.get(subject_event_id)

    def decisions(self, now: float) -> dict[str, Any]:
        """Counts of the last minute by outcome and mode, and the latest decisions, newest first."""
        while self._window and now - self._window[0][0] > WINDOW_SECONDS:
            self._window.popleft()
        outcomes = Counter(outcome for _, outcome, _ in self._window)
        return {
            "seconds": WINDOW_SECONDS,
            "seen": len(self._window),
            "outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES},
            "modes": dict(sorted(Counter(mode for _, _, mode in self._window).items())),
            "latest": [_decision_line(event) for event in self._latest],
        }

    def postures(self) -> list[dict[str, Any]]:
        """The newest posture of each scope, `all` first."""
        kept = sorted(self._postures.items(), key=lambda item: (item[0] != "all", item[0]))
        shown = (
            "scope",
            "posture",
            "capabilities",
            "causes",
            "since",
            "valid_until",
            "previous",
            "forced_by",
        )
        return [{name: event["payload"][name] for name in shown} for _, event in kept]

    def _chain(self, subject_event_id: str) -> Chain:
        chain = self._chains.setdefault(subject_event_id, Chain())
        self._chains.move_to_end(subject_event_id)
        if len(self._chains) > KEPT_CHAINS:
            self._chains.popitem(last=False)
        return chain

    def _take_posture(self, event: Fields) -> None:
        payload = event["payload"]
        known = self._postures.get(payload["scope"])
        newer = known is None or payload["sequence"] >= known["payload"]["sequence"]
        if newer and (known is not None or len(self._postures) < _KEPT_SCOPES):
            self._postures[payload["scope"]] = event


def _bounded(parts: list[Fields], event: Fields) -> None:
    """Append, unless the same event is there or there are too many."""
    if len(parts) < _KEPT_PARTS and all(part["event_id"] != event["event_id"] for part in parts):
        parts.append(event)


def _decision_line(event: Fields) -> dict[str, Any]:
    payload = event["payload"]
    names = ("outcome", "mode", "reason_codes", "score_ppm", "amount_minor", "currency", "customer_id")
    return {"event_id": payload["subject_event_id"], "run_id": event["run_id"], "ts_utc": event["ts_utc"]} | {
        name: payload[name] for name in names
    }
