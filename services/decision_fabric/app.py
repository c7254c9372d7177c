"""The decision fabric as a process of its own."""

from services.decision_fabric.model import SERVICE
from services.decision_fabric.process import make_member
from sluice_kit.stage.process import run_stage

__all__ = ["main", "make_member"]


def main(arguments: list[str] | None = None) -> int:
    """Run the decision fabric until it is told to stop."""
    return run_stage(SERVICE, make_member, arguments)
