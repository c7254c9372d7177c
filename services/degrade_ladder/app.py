"""Wiring of the degrade ladder."""

from services.degrade_ladder.api import LadderApi, router
from services.degrade_ladder.events import SERVICE
from services.degrade_ladder.policy import FILE_NAME
from services.degrade_ladder.stage import make_stage
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.http.access import Access
from sluice_kit.stage.process import Member, StageArguments, run_stage
from sluice_kit.telemetry import Health


def make_member(given: StageArguments, store: ArtifactStore, health: Health) -> Member:
    """What a process needs of the ladder, alone or chained. Raises PolicyError, TokenFileError."""
    del store
    stage = make_stage(given.wiring.policy_dir / FILE_NAME)
    if not given.serves:
        return Member(stage)
    access = Access.load(given.wiring.secret_source, health)
    return Member(stage, routers=(access.guarded(router(LadderApi(stage.policy, stage.state))),))


def main(arguments: list[str] | None = None) -> int:
    """Run the ladder until it is told to stop."""
    return run_stage(SERVICE, make_member, arguments)
