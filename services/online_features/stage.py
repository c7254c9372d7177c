"""The features stage as the kit sees it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.online_features.core import FeaturesStep
from services.online_features.overlay import StageOverlay
from services.online_features.policy import OnlineFeaturesPolicy, load_feature_set, load_policy
from services.online_features.reading import CONTEXTS, LABELS, PAYMENTS
from services.online_features.signals import SERVICE
from services.online_features.state import StageState
from sluice_features import FeatureSet
from sluice_kit.config.wiring import POLICY_DIR
from sluice_kit.stage import Batch, Coordinate, Record, StepResult, control_first
from sluice_kit.stage.closed_runs import RUNS

STEP_MODULES: Final = (
    "core",
    "join_file",
    "joining",
    "ordering",
    "overlay",
    "policy",
    "reading",
    "signals",
    "snapshot_writer",
    "state",
    "watermarks",
)
"""What decides about outputs."""


class OnlineFeaturesStage:
    """Reads payments, labels and graph contexts; writes one snapshot a payment."""

    name = SERVICE
    inputs: Sequence[str] = (RUNS, CONTEXTS, LABELS, PAYMENTS)
    code: Sequence[str] = (
        *(f"services.online_features.{name}" for name in STEP_MODULES),
        "sluice_features",
        "sluice_kit.columnar",
        "sluice_kit.stage",
        "sluice_contracts",
    )

    def __init__(self, policy: OnlineFeaturesPolicy, feature_set: FeatureSet, shard: int = 0) -> None:
        self.feature_set = feature_set
        self.policy = policy
        self.revision: Sequence[str] = (policy.fingerprint(), feature_set.fingerprint())
        self.state = StageState(policy, feature_set)
        self._step = FeaturesStep(policy, feature_set, self.state.features, shard)

    def order(self, records: Sequence[Record]) -> list[Record]:
        """By topic, partition and offset; the step merges labels and payments by time itself."""
        return control_first(records, self.inputs)

    def step(self, overlay: StageOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return self._step.step(overlay, batch)

    def wake_at(self) -> int | None:
        """When the payment that waits longest for the graph waits no longer."""
        return self._step.next_release(self.state)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Nothing that this stage writes ends in coordinates."""
        return [b""] * len(coordinates)


def make_stage(policy_dir: Path = POLICY_DIR, shard: int = 0) -> OnlineFeaturesStage:
    """A fresh stage on the policy of a folder. Raises PolicyError."""
    policy = load_policy(policy_dir)
    return OnlineFeaturesStage(policy, load_feature_set(policy_dir, policy.feature_set), shard)
