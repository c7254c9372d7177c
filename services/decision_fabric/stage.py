"""The decision fabric as the kit sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.decision_fabric.core import Resolve, step
from services.decision_fabric.model import INPUTS, SERVICE
from services.decision_fabric.policy import FabricPolicy
from services.decision_fabric.state import DecisionOverlay, DecisionState
from sluice_decisions import FeatureBinding
from sluice_kit.stage import Batch, Coordinate, Record, StepResult, control_first

_STEP_MODULES: Final = (
    "arrivals",
    "batch_encoder",
    "bundle_source",
    "core",
    "encoding",
    "intake",
    "lists",
    "model",
    "policy",
    "reading",
    "signals",
    "state",
    "templates",
)
CODE: Final = (
    *(f"services.decision_fabric.{name}" for name in _STEP_MODULES),
    "sluice_decisions",
    "sluice_kit.columnar",
    "sluice_kit.stage",
    "sluice_contracts",
)
"""What decides about outputs; REST and tools beside the step may change without a new code revision."""


class DecisionFabricStage:
    """Reads what steers, payments and snapshots; puts decisions and intents on its lane."""

    name = SERVICE
    inputs: Sequence[str] = INPUTS
    code: Sequence[str] = CODE

    def __init__(
        self, policy: FabricPolicy, served: FeatureBinding, resolve: Resolve, *, shard: int = 0
    ) -> None:
        self.state = DecisionState()
        self.revision: Sequence[str] = (policy.fingerprint(), served.hash)
        self._policy = policy
        self._resolve = resolve
        self._shard = shard

    def order(self, records: Sequence[Record]) -> list[Record]:
        """Control topics first. Payments are decided by run and `ts_utc` within the step (`core`)."""
        return control_first(records, INPUTS)

    def step(self, overlay: DecisionOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return step(overlay, batch, self._policy, self._resolve, self._shard)

    def wake_at(self) -> int | None:
        """The deadline of the payment that waits longest for its snapshot."""
        return self.state.next_deadline

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Nothing that this stage writes ends in coordinates of its own facts."""
        return [b""] * len(coordinates)
