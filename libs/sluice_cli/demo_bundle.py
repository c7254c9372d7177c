"""What decides in the demo: a model of another world, put in force as an operator does it."""

import time
import uuid
from dataclasses import dataclass
from typing import Final

from sluice_cli.bundle_commands import activation_event, activation_id, usable
from sluice_cli.bundle_making import train_on
from sluice_cli.demo_steps import DemoError, DemoSteps
from sluice_cli.demo_waiting import wait_until
from sluice_cli.demo_world import EngineWorld, Progress, sealed_world
from sluice_cli.operator_lane import awaited_receipt, put_on_lane
from sluice_cli.service_calls import DECISION_FABRIC, GATE, LADDER, CallError
from sluice_decisions import ModelRuntimeUnavailable, UnsoundBundle
from sluice_decisions.postures import Posture
from sluice_decisions.training import TableProblem, Trained, TrainingParameters
from sluice_features import FeatureError
from sluice_kit.artifacts import ArtifactError, open_artifacts, open_oracle
from sluice_kit.config import PolicyError
from sluice_oracle import WorldError, load_world

EVENTS: Final = 20_000
SEED: Final = 1_008
"""Another seed than people give a demo: what decides has never seen what it decides about."""
_RECEIPT_SECONDS: Final = 60.0
_TROUBLE: Final = (
    ArtifactError,
    CallError,
    FeatureError,
    ModelRuntimeUnavailable,
    PolicyError,
    TableProblem,
    UnsoundBundle,
    WorldError,
)


@dataclass(frozen=True, slots=True)
class ActiveBundle:
    """What is in force."""

    bundle_id: str
    revision: str
    fingerprint: str
    trained: Trained


def training_world(steps: DemoSteps, seed: int, progress: Progress) -> str:
    """Make and seal the world that teaches; its address. Raises DemoError."""
    return sealed_world(EngineWorld(EVENTS, seed), steps.wiring, progress).uri


def train(steps: DemoSteps, world_uri: str) -> Trained:
    """Train on a sealed world and seal model, rules and thresholds as a bundle. Raises DemoError."""
    wiring = steps.wiring
    try:
        world = load_world(open_oracle(wiring), world_uri)
        return train_on(world, open_artifacts(wiring), TrainingParameters()).bundle
    except _TROUBLE as error:
        raise DemoError(f"no bundle could be trained on {world_uri}: {error}") from error


def activate(steps: DemoSteps, trained: Trained) -> ActiveBundle:
    """Put a bundle in force, as `sluice bundle activate` does, and wait until decisions are made by it.

    Raises DemoError when it is refused, or when the posture does not become NORMAL.
    """
    wiring = steps.wiring
    try:
        bundle, locator = usable(open_artifacts(wiring), trained.manifest.uri)
        event_id = activation_id("all", bundle, str(uuid.uuid4()))
        now = time.time_ns() // 1_000
        put_on_lane(
            wiring, activation_event(bundle, locator, event_id, scope="all", reason="the demo", now=now)
        )
        receipt = awaited_receipt(steps.calls(GATE), event_id, _RECEIPT_SECONDS, "the activation")
    except _TROUBLE as error:
        raise DemoError(f"the bundle was not activated: {error}") from error
    if receipt["decision"] != "ADMIT":
        raise DemoError(f"the bundle was not activated: {receipt['reason_codes']} {receipt['detail']}")
    wait_until("the bundle to be in force", lambda: _in_force(steps, bundle.revision))
    wait_until("the posture to be NORMAL", lambda: posture(steps) == Posture.NORMAL)
    return ActiveBundle(bundle.bundle_id, bundle.revision, bundle.fingerprint, trained)


def posture(steps: DemoSteps) -> str | None:
    """The posture in force everywhere, None while the ladder has not said it."""
    scopes = steps.asked(LADDER, "/v1/posture").get("scopes", ())
    return next((one["posture"] for one in scopes if one["scope"] == "all"), None)


def _in_force(steps: DemoSteps, revision: str) -> bool:
    found = steps.asked(DECISION_FABRIC, "/v1/bundles/active").get("bundles", ())
    for one in found:
        if one["bundle"]["revision"] == revision and one["reason"] is not None:
            raise DemoError(f"the bundle cannot decide: {one['reason']}: {one['detail']}")
    return any(one["bundle"]["revision"] == revision for one in found)
