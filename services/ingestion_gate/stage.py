"""The gate as the kit sees it."""

from collections.abc import Sequence
from typing import Final

from services.ingestion_gate.core import CONTROL_LANES, step
from services.ingestion_gate.disk_keys import DiskKeys
from services.ingestion_gate.face import open_face
from services.ingestion_gate.overlay import GateOverlay
from services.ingestion_gate.rebuild import rebuild
from services.ingestion_gate.receipt_handover import FOLLOWED
from services.ingestion_gate.rows import Row, prepare_all
from services.ingestion_gate.screening import EDGE_LANE, Prepared
from services.ingestion_gate.state import GateState
from services.ingestion_gate.tracing import traced_events
from sluice_contracts import LANES, DecodeFailure, coordinate_tails
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.stage import (
    Batch,
    BusReading,
    Coordinate,
    Record,
    StepResult,
    control_first,
)
from sluice_kit.stage.process import Member, StageArguments
from sluice_kit.telemetry import Health

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

UNHURRIED_LANES: Final = frozenset(
    {"ingress.action_layer", "ingress.decision_log", "ingress.flow_meter", "ingress.backfill"}
)
"""What comes back of decisions that were given, and what was pushed before."""


class GateStage:
    """Reads every ingress lane; the only stage that states facts."""

    name = NAME
    inputs: Sequence[str] = (*CONTROL_LANES, *sorted(set(LANES) - set(CONTROL_LANES)))
    code: Sequence[str] = CODE
    revision: Sequence[str] = ()  # its policy is an input
    with_headers = frozenset({EDGE_LANE})
    unhurried = UNHURRIED_LANES
    followed = FOLLOWED

    def __init__(self, state: GateState) -> None:
        self.state = state

    def prepare(self, records: Sequence[Record]) -> list[Row | Prepared | DecodeFailure]:
        """Decode, check and hash."""
        return prepare_all(records)

    def order(self, records: Sequence[Record]) -> list[Record]:
        """Operator, evidence and READY before the traffic that they steer."""
        return control_first(records, CONTROL_LANES)

    def step(self, overlay: GateOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return step(overlay, batch)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """How receipts end."""
        return coordinate_tails(coordinates)

    def rebuild(self, bus: BusReading) -> None:
        """The state from what stands on the event bus."""
        rebuild(self.state, bus)


def make_member(given: StageArguments, store: ArtifactStore, health: Health) -> Member:
    """The gate with its keys on disk, and what runs beside it. Raises IndexInUse, TokenFileError, OSError."""
    state = GateState(DiskKeys(given.wiring.state_dir / NAME / str(given.shard)))
    if not given.serves:
        return Member(GateStage(state))
    face = open_face(given.wiring, lambda: state.view, store, health, shard=given.shard)
    return Member(
        GateStage(state),
        routers=face.routers,
        after_commit=face.after_commit,
        background=face.background,
        traced=traced_events,
    )
