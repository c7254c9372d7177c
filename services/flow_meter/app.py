"""The flow meter as a process of its own."""

from services.flow_meter.core import SERVICE
from services.flow_meter.stage import make_member
from sluice_kit.stage.process import run_stage


def main(arguments: list[str] | None = None) -> int:
    """Run the flow meter until it is told to stop."""
    return run_stage(SERVICE, make_member, arguments)
