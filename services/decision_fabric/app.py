"""Wiring of the decision fabric."""

from services.decision_fabric.model import SERVICE
from services.decision_fabric.stage import decision_chain, open_fabric
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.stage.process import StageApp, StageArguments, run_stage
from sluice_kit.telemetry import Health


def build(given: StageArguments, store: ArtifactStore, health: Health) -> StageApp:
    """The decision fabric as a process of its own."""
    fabric = open_fabric(given, store, health)
    return StageApp(
        decision_chain(fabric.stage),
        routers=fabric.routers,
        after_commit=fabric.after_commit,
        background=fabric.background,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the decision fabric until it is told to stop."""
    return run_stage(SERVICE, build, arguments)
