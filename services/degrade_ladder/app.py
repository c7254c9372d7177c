"""Wiring of the degrade ladder."""

import sys

from services.degrade_ladder.api import LadderApi, router
from services.degrade_ladder.events import SERVICE
from services.degrade_ladder.stage import ladder_chain, make_stage
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.http.access import Access
from sluice_kit.stage import StageError
from sluice_kit.stage.process import StageApp, StageArguments, run_stage
from sluice_kit.telemetry import Health


def build(given: StageArguments, store: ArtifactStore, health: Health) -> StageApp:
    """The ladder as a process. Raises StageError (policy), TokenFileError."""
    del store
    stage = make_stage()
    access = Access.load(given.wiring.secret_source, health)
    return StageApp(
        ladder_chain(stage), routers=(access.guarded(router(LadderApi(stage.policy, stage.state))),)
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the ladder until it is told to stop."""
    try:
        return run_stage(SERVICE, build, arguments)
    except StageError as error:
        sys.stderr.write(f"{SERVICE}: {error}\n")
        return error.exit_code
