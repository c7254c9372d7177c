"""Wiring of the gate: its state, its step, and what runs beside it."""

from services.ingestion_gate.disk_keys import DiskKeys
from services.ingestion_gate.face import open_face
from services.ingestion_gate.stage import NAME, GateStage, gate_chain
from services.ingestion_gate.state import GateState
from services.ingestion_gate.tracing import traced_events
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.index import IndexInUse
from sluice_kit.stage import StageError
from sluice_kit.stage.process import StageApp, StageArguments, load_chained, run_stage
from sluice_kit.telemetry import Health, get_logger

log = get_logger("ingestion_gate")


def build(given: StageArguments, store: ArtifactStore, health: Health) -> StageApp:
    """The gate as a process."""
    folder = given.wiring.state_dir / NAME / str(given.shard)
    state = GateState(DiskKeys(folder))
    face = open_face(given.wiring, lambda: state.view, store, health, shard=given.shard)
    return StageApp(
        gate_chain(GateStage(state), *load_chained(given.chained)),
        routers=face.routers,
        after_commit=face.after_commit,
        background=face.background,
        traced=traced_events,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the gate until it is told to stop."""
    try:
        return run_stage(NAME, build, arguments)
    except IndexInUse as error:
        log.error("stage.stopped", reason="IndexInUse", error=str(error), exit_code=StageError.exit_code)  # noqa: TRY400
        return StageError.exit_code
