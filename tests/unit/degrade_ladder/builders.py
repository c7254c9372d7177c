"""Policies, reports and orders as the ladder's tests need them."""

from typing import Any

import yaml

from services.degrade_ladder.policy import LadderPolicy
from services.degrade_ladder.stage import SHIPPED, LadderStage
from sluice_contracts import encode
from sluice_decisions.posture_orders import FORCE, OVERRIDE, RELEASE
from sluice_kit.stage import ChainSpec
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, ZERO, envelope

SECOND = 1_000_000
LANE = "ingress.degrade_ladder"
REPORTS = "control.heartbeat"
ORDERS = "audit.governance"
CONTROL = {
    "manifest_fingerprint": ZERO,
    "parameter_hash": ZERO,
    "scenario_id": "standing",
    "run_id": "standing",
}


def shipped() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(SHIPPED.read_text("utf-8"))
    return content


def policy_of(**changes: Any) -> LadderPolicy:
    """Two watched services, one with limits; quiet 6/4/2 s, at least 3 s on a rung, valid for 20 s."""
    signals = [
        {"service": "graph", "name": "status", "max_age_seconds": 10},
        {
            "service": "features",
            "name": "waiting",
            "max_age_seconds": 10,
            "limits": {
                "DEGRADED_1": {"above": 10, "for_seconds": 3},
                "DEGRADED_2": {"above": 100},
                "FAIL_CLOSED": {"above": 1_000},
            },
        },
    ]
    content = shipped() | {
        "revision": "tests-1",
        "quiet_seconds": {"DEGRADED_1": 6, "DEGRADED_2": 4, "FAIL_CLOSED": 2},
        "minimum_seconds": 3,
        "start_quiet_seconds": 1,
        "longest_override_seconds": 60,
        "scopes": {"all": {"signals": signals}},
    }
    return LadderPolicy.model_validate(content | changes)


def report(service: str, at: int, status: str = "ok", shard: int = 0, **values: int) -> bytes:
    payload: dict[str, Any] = {
        "service": service,
        "shard": shard,
        "status": status,
        "values": values,
        "window_start": at - SECOND,
        "window_end": at,
    }
    event_id = f"signal-{service}-{shard}-{at}"
    return encode("service_signal", 1, envelope("service_signal", event_id, payload, ts_utc=at, **CONTROL))


def order(kind: str, target: str, at: int = NOW, number: int = 1, outcome: str = "allowed") -> bytes:
    payload: dict[str, Any] = {
        "action_id": f"order-{number}",
        "subject": f"posture:{target.partition('=')[0]}",
        "actor": {"type": "human", "id": "olga", "roles": ["operate"], "on_behalf_of": None},
        "scope": {"tenant": "default", "environment": "local", "region": "local"},
        "outcome": outcome,
        "reason": "drill",
        "latency_ms": None,
        "inputs_digest": None,
        "policy_decisions": [],
        "evidence_refs": [],
        "kind": kind,
        "target": target,
        "original": None,
        "original_lane": None,
    }
    return encode(
        "governance_action",
        1,
        envelope("governance_action", f"order-{number}", payload, ts_utc=at, **CONTROL),
    )


class Ladder:
    """A ladder under a driver, with what its tests do to it."""

    def __init__(self, policy: LadderPolicy | None = None) -> None:
        self.policy = policy or policy_of()
        self.stage = LadderStage(self.policy)
        self.driver = TopologyDriver(ChainSpec([self.stage]), now=NOW)
        self._orders = 0
        self._events: list[dict[str, Any]] = []

    def report(self, service: str, *, at: int | None = None, **said: Any) -> None:
        self.driver.pipe(REPORTS, report(service, self.driver.now if at is None else at, **said), b"standing")

    def all_well(self, seconds: int = 1) -> None:
        """Both services report that they are well, every second."""
        for _ in range(seconds):
            self.driver.now += SECOND
            self.report("graph")
            self.report("features", waiting=0)
            self.driver.step()

    def started(self) -> "Ladder":
        """At NORMAL."""
        self.all_well(10)
        assert self.rung() == "NORMAL"
        return self

    def force(self, target: str, *, override: bool = False, at: int | None = None) -> None:
        self._order(OVERRIDE if override else FORCE, target, at)

    def release(self, scope: str = "all") -> None:
        self._order(RELEASE, scope, None)

    def events(self) -> list[dict[str, Any]]:
        """Fields of everything on the lane, oldest first; it all stands in one partition."""
        for (topic, _), log in sorted(self.driver.logs.items()):
            if topic == LANE:
                self._events += [record.decoded().fields for record in log[len(self._events) :]]
        return self._events

    def postures(self, scope: str = "all") -> list[dict[str, Any]]:
        """Payloads of what was put out, oldest first."""
        payloads = [event["payload"] for event in self.events() if event["event_type"] == "posture"]
        return [payload for payload in payloads if payload["scope"] == scope]

    def beats(self) -> list[dict[str, Any]]:
        """Payloads of its reports of itself."""
        return [event["payload"] for event in self.events() if event["event_type"] == "service_signal"]

    def rung(self, scope: str = "all") -> str:
        rung: str = self.postures(scope)[-1]["posture"]
        return rung

    def causes(self) -> list[str]:
        causes: list[str] = self.postures()[-1]["causes"]
        return causes

    def _order(self, kind: str, target: str, at: int | None) -> None:
        self._orders += 1
        made = order(kind, target, self.driver.now if at is None else at, self._orders)
        self.driver.pipe(ORDERS, made, b"order")
        self.driver.step()
