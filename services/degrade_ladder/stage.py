"""The degrade ladder as the kit sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.degrade_ladder.core import ORDERS, SIGNALS, step
from services.degrade_ladder.events import SERVICE
from services.degrade_ladder.policy import FILE_NAME, LadderPolicy, load_policy
from sluice_kit.config.wiring import POLICY_DIR
from sluice_kit.stage import (
    Batch,
    Coordinate,
    Record,
    StepResult,
    control_first,
)
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState

STEP_MODULES: Final = ("core", "events", "ladder", "model", "orders", "policy", "signals")
"""What decides about outputs; REST beside the step may change without a new code revision."""
CODE: Final = (
    *(f"services.degrade_ladder.{name}" for name in STEP_MODULES),
    "sluice_decisions.documents",
    "sluice_decisions.outcomes",
    "sluice_decisions.postures",
    "sluice_kit.stage",
    "sluice_contracts",
)
SHIPPED: Final = POLICY_DIR / FILE_NAME


class LadderStage:
    """Reads reports and orders; writes postures to its lane."""

    name = SERVICE
    inputs: Sequence[str] = (ORDERS, SIGNALS)
    code: Sequence[str] = CODE

    def __init__(self, policy: LadderPolicy) -> None:
        self.policy = policy
        self._fingerprint = policy.fingerprint()
        self.revision: Sequence[str] = (f"{SERVICE}:{self._fingerprint}",)
        self.state = KeyedState(SERVICE)

    def order(self, records: Sequence[Record]) -> list[Record]:
        """Orders before reports, each in the order of the bus."""
        return control_first(records, self.inputs)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return step(overlay, batch, self.policy, self._fingerprint)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Nothing that this stage writes ends in coordinates."""
        return [b""] * len(coordinates)


def make_stage(policy_file: Path = SHIPPED) -> LadderStage:
    """A fresh stage on a policy file. Raises PolicyError."""
    return LadderStage(load_policy(policy_file))
