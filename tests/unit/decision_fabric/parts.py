"""A fabric under test: the topology driver around a stage with a real bundle, and events to pipe into it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from services.decision_fabric.bundle_source import BundleSource
from services.decision_fabric.model import BUNDLES, LANE, LISTS, PAYMENTS, POSTURES, SNAPSHOTS
from services.decision_fabric.policy import FabricPolicy
from services.decision_fabric.stage import DecisionFabricStage
from sluice_contracts import derived_id, encode
from sluice_decisions import Bundle, load_bundle
from sluice_kit.artifacts import ArtifactStore, Locator
from sluice_kit.stage import ChainSpec
from sluice_kit.testing import TopologyDriver
from tests.unit.decisions import parts as small
from tests.unit.ingestion_gate.events import envelope
from tests.unit.ingestion_gate.events import payment as payment_event

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
RESPONSE = "payment_response"
EVERYTHING = ("attributions", "graph_features", "model", "rules")
POLICY: dict[str, Any] = {
    "revision": "actions-1",
    "deadline_ms": 100,
    "early_snapshot_ms": 10_000,
    "actions": {
        "ALLOW": [{"domain": RESPONSE, "effector": "log", "action": "allow", "not_after_ms": 60_000}],
        "STEP_UP": [{"domain": RESPONSE, "effector": "webhook", "action": "step_up"}],
        "REVIEW": [{"domain": RESPONSE, "effector": "webhook", "action": "review"}],
        "DECLINE": [
            {
                "domain": "payment_response",
                "effector": "webhook",
                "action": "decline",
                "not_after_ms": 900_000,
            },
            {
                "domain": "terminal_block",
                "effector": "list",
                "action": "block_terminal",
                "list": "blocked",
                "entry": "terminal_id",
                "with_reason": ["TERMINAL_RISK"],
            },
        ],
    },
}
CALM = [1_000, 20, 0, 0, -1]
"""Feature values that the model has nothing against."""
SUSPECT = [99_000, 2, 990_000, 1, 1]
"""Values of which model and rules think the worst; the payment is DECLINE and the terminal risky."""


def policy(**changes: Any) -> FabricPolicy:
    return FabricPolicy.model_validate(POLICY | changes)


class Fabric:
    """A stage, its driver, and the events that a test pipes in."""

    def __init__(self, store: ArtifactStore, locator: Locator, **changes: Any) -> None:
        self.store, self.locator = store, locator
        self.source = BundleSource(store, small.BINDING)
        self._policy = policy(**changes)
        self.stage = DecisionFabricStage(self._policy, small.BINDING, self.source.resolve)
        self.driver = TopologyDriver(chain_of(self.stage), now=NOW)
        self._checkpoints: Path | None = None

    def ready(self) -> Fabric:
        """With a bundle and a posture in force."""
        self.activate()
        self.posture()
        self.driver.step()
        return self

    def restart(self) -> None:
        """As a process that starts from a checkpoint: the state by its files, everything else anew."""
        stage = DecisionFabricStage(self._policy, small.BINDING, self.source.resolve)
        if self._checkpoints is None:
            near = self.store.local_path("checkpoints")
            assert near is not None
            near.mkdir(exist_ok=True)
            self._checkpoints = Path(tempfile.mkdtemp(dir=near))
        stage.state.load(self.stage.state.freeze().write(self._checkpoints))
        before, self.stage = self.driver, stage
        self.driver = TopologyDriver(chain_of(stage), now=before.now, logs=before.logs)
        self.driver.batch_no = before.batch_no

    def activate(self, scope: str = "all", *, event_id: str | None = None, **changes: Any) -> None:
        self.driver.pipe(BUNDLES, activation(self.store, self.locator, scope, event_id, **changes))

    def posture(self, posture: str = "NORMAL", scope: str = "all", **changes: Any) -> None:
        self.driver.pipe(POSTURES, posture_event(posture, scope, **changes))

    def change_list(self, name: str, entry: str, operation: str = "ADD", *, tenant: str = "default") -> None:
        payload = {
            "list": name,
            "entry": entry,
            "operation": operation,
            "cause_event_id": None,
            "reason": "test",
        }
        event_id = derived_id("test", name, entry, operation)
        fields = envelope("list_changed", event_id, payload, tenant=tenant)
        self.driver.pipe(LISTS, encode("list_changed", 1, fields))

    def pay(self, event_id: str, **changes: Any) -> None:
        self.driver.pipe(PAYMENTS, encode("payment", 1, payment_event(event_id, **changes)), key=b"C1")

    def snapshot(self, event_id: str, values: Iterable[int] = CALM, **changes: Any) -> None:
        value = encode("feature_snapshot", 1, snapshot_fields(event_id, values, **changes))
        self.driver.pipe(SNAPSHOTS, value, key=event_id.encode())

    def decide(self, *event_ids: str, values: Iterable[int] = CALM, **changes: Any) -> list[dict[str, Any]]:
        """Pay with snapshots in one batch; the payloads of the decisions so far, in order."""
        for event_id in event_ids:
            self.pay(event_id, **changes)
            self.snapshot(event_id, list(values), **{k: v for k, v in changes.items() if k == "tenant"})
        self.driver.step()
        return self.decisions()

    def events(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.driver.events(LANE) if event["event_type"] == event_type]

    def decisions(self) -> list[dict[str, Any]]:
        return [event["payload"] for event in self.events("decision")]

    def intents(self) -> list[dict[str, Any]]:
        return [event["payload"] for event in self.events("action_intent")]

    def signalled(self) -> dict[str, int]:
        """The sum of every number that the signals so far have told."""
        sums: dict[str, int] = {}
        for event in self.events("service_signal"):
            for name, value in event["payload"]["values"].items():
                sums[name] = sums.get(name, 0) + value
        return sums


def chain_of(stage: DecisionFabricStage) -> ChainSpec:
    """The stage alone, with a code revision that costs nothing: the real one reads every source file."""
    chain = ChainSpec((stage,))
    chain.__dict__["code_rev"] = "tests"
    return chain


def activation(
    store: ArtifactStore, locator: Locator, scope: str = "all", event_id: str | None = None, **changes: Any
) -> bytes:
    found = load_bundle(store, locator)
    named = (
        (found.bundle_id, found.revision, found.fingerprint)
        if isinstance(found, Bundle)
        else ("payments", "b1", "0" * 64)
    )
    payload = {
        "scope": scope,
        "bundle_id": named[0],
        "bundle_revision": named[1],
        "fingerprint": {"algo": "sha256", "hash": named[2], "created_at": None, "inputs": {}},
        "manifest": locator.to_fields(),
        "actor": {"type": "human", "id": "tests", "roles": [], "on_behalf_of": None},
        "reason": "test",
    } | changes
    made = event_id or derived_id("test", scope, locator.uri)
    return encode("bundle_activated", 1, envelope("bundle_activated", made, payload))


def posture_event(posture: str, scope: str = "all", **changes: Any) -> bytes:
    payload: dict[str, Any] = {
        "scope": scope,
        "posture": posture,
        "capabilities": list(EVERYTHING),
        "sequence": 0,
        "since": NOW,
        "valid_until": NOW + 3_600 * SECOND,
        "previous": None,
        "causes": [],
        "forced_by": None,
        "signals": [],
        "policy_revision": "ladder-1",
    } | changes
    event_id = derived_id("test", scope, posture, payload["sequence"])
    return encode("posture", 1, envelope("posture", event_id, payload))


def snapshot_fields(event_id: str, values: Iterable[int] = CALM, **changes: Any) -> dict[str, Any]:
    return {
        "tenant": "default",
        "run_id": "run-1",
        "event_id": event_id,
        "as_of": NOW,
        "feature_set": {"name": "payments", "revision": "r1", "hash": small.HASH},
        "values": list(values),
        "missing": [],
        "freshness": [],
        "graph_version": 7,
        "graph_basis": "b" * 64,
        "input_basis": "c" * 64,
        "degraded": [],
        "payment": {"topic": PAYMENTS, "partition": 0, "offset": 0},
        "snapshot_hash": derived_id("snapshot", event_id),
    } | changes
