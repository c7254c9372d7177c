"""Wiring of the features stage: its step, and the look-ups beside it."""

import threading

from services.online_features.api import FeaturesApi, router
from services.online_features.look_back import SnapshotLog
from services.online_features.policy import known_feature_sets
from services.online_features.recent import RecentSnapshots
from services.online_features.signals import SERVICE
from services.online_features.stage import make_stage
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.http.access import Access
from sluice_kit.stage.process import Member, StageArguments, run_stage
from sluice_kit.telemetry import Health

HEAD = "ingestion_gate"
"""As whom the stage runs when it is chained: the head of every chain."""


def make_member(given: StageArguments, store: ArtifactStore, health: Health) -> Member:
    """What a process needs of the stage, alone or chained. Raises PolicyError, TokenFileError."""
    del store
    policy_dir = given.wiring.policy_dir
    stage = make_stage(policy_dir, given.shard)
    if not given.serves:
        return Member(stage)
    recent = RecentSnapshots(stage.policy.remembered_snapshots)
    principal = HEAD if SERVICE in given.chained else SERVICE
    log = SnapshotLog(given.wiring, principal, most=stage.policy.look_back_records)
    api = FeaturesApi(recent, log, stage.state, stage.feature_set, known_feature_sets(policy_dir))
    access = Access.load(given.wiring.secret_source, health)

    def close_after(stop: threading.Event) -> None:
        stop.wait()
        log.close()

    return Member(
        stage,
        routers=(access.guarded(router(api)),),
        after_commit=(recent.take,),
        background=(close_after,),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the features stage until it is told to stop."""
    return run_stage(SERVICE, make_member, arguments)
