"""Wiring of the flow meter."""

from services.flow_meter.core import SERVICE
from services.flow_meter.stage import flow_meter_chain
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.stage.process import StageApp, StageArguments, run_stage
from sluice_kit.telemetry import Health


def build(given: StageArguments, store: ArtifactStore, health: Health) -> StageApp:
    """The flow meter as a process."""
    del given, store, health
    return StageApp(flow_meter_chain())


def main(arguments: list[str] | None = None) -> int:
    """Run the flow meter until it is told to stop."""
    return run_stage(SERVICE, build, arguments)
