"""The gate as a process, with whatever a topology chains behind it."""

from services.ingestion_gate.stage import NAME, make_member
from sluice_kit.index import IndexInUse
from sluice_kit.stage import StageError
from sluice_kit.stage.process import run_stage
from sluice_kit.telemetry import get_logger

log = get_logger("ingestion_gate")


def main(arguments: list[str] | None = None) -> int:
    """Run the gate until it is told to stop."""
    try:
        return run_stage(NAME, make_member, arguments)
    except IndexInUse as error:
        log.error("stage.stopped", reason="IndexInUse", error=str(error), exit_code=StageError.exit_code)  # noqa: TRY400
        return StageError.exit_code
