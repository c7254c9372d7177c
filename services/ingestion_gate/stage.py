"""The gate as the kit sees it."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from services.ingestion_gate.core import CONTROL_LANES, step
from services.ingestion_gate.overlay import GateOverlay
from services.ingestion_gate.rebuild import rebuild
from services.ingestion_gate.rows import prepare_all
from services.ingestion_gate.screening import EDGE_LANE
from services.ingestion_gate.state import GateState
from sluice_contracts import LANES, coordinate_tails
from sluice_kit.stage import (
    Batch,
    ChainSpec,
    Coordinate,
    Record,
    Stage,
    StepResult,
    code_revision,
    control_first,
)

NAME: Final = "ingestion_gate"
STEP_MODULES: Final = (
    "admission",
    "control",
    "core",
    "evidence",
    "express",
    "model",
    "overlay",
    "policy",
    "reasons",
    "receipt_template",
    "receipts",
    "rows",
    "screening",
)
"""What decides about outputs; REST and tools beside the step may change without a new code revision."""

CODE: Final = (
    *(f"services.ingestion_gate.{name}" for name in STEP_MODULES),
    "sluice_kit.columnar",
    "sluice_kit.stage",
    "sluice_contracts",
)


class GateStage:
    """Reads every ingress lane; the only stage that states facts."""

    name = NAME
    inputs: Sequence[str] = (*CONTROL_LANES, *sorted(set(LANES) - set(CONTROL_LANES)))

    def __init__(self, state: GateState) -> None:
        self.state = state

    def step(self, overlay: GateOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return step(overlay, batch)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """How receipts end."""
        return coordinate_tails(coordinates)


def control_lanes_first(records: Sequence[Record]) -> list[Record]:
    """Operator, evidence and READY before the traffic that they steer."""
    return control_first(records, CONTROL_LANES)


def gate_chain(gate: GateStage, *chained: Stage) -> ChainSpec:
    """The gate alone, or with stages chained behind it."""
    code = [*CODE, *(f"services.{stage.name}" for stage in chained)]
    return ChainSpec(
        members=(gate, *chained),
        order=control_lanes_first,
        code_rev=code_revision(code),
        with_headers=frozenset({EDGE_LANE}),
        prepare=prepare_all,
        rebuild=partial(rebuild, gate.state),
    )
