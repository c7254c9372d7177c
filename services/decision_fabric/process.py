"""What a process needs of the fabric, alone or chained: its stage, REST, hooks and a thread that warms up."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from services.decision_fabric.api import router
from services.decision_fabric.bundle_source import BundleSource
from services.decision_fabric.decided import DecidedCache
from services.decision_fabric.list_api import list_router
from services.decision_fabric.model import Activation
from services.decision_fabric.policy_files import (
    binding_of,
    read_feature_set,
    read_policy,
)
from services.decision_fabric.stage import DecisionFabricStage
from sluice_decisions import BundleProblem, ModelRuntimeUnavailable
from sluice_decisions.model import lightgbm_library
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.http.access import Access
from sluice_kit.stage import MemberRun
from sluice_kit.stage.process import Member, StageArguments
from sluice_kit.telemetry import Health, get_logger

log = get_logger("decision_fabric")
BUNDLES: str = "bundles"
"""The health check that says which active bundle cannot be used."""


def make_member(given: StageArguments, store: ArtifactStore, health: Health) -> Member:
    """Wire the fabric. Raises PolicyError, TokenFileError."""
    policy_dir = given.wiring.policy_dir
    policy, served = read_policy(policy_dir), binding_of(read_feature_set(policy_dir))

    def unusable(activation: Activation, problem: BundleProblem) -> None:
        log.error("bundle.unusable", activation=activation.event_id, problem=str(problem))
        health.degraded(BUNDLES, f"bundle {activation.bundle_id} {activation.revision}: {problem}")

    source = BundleSource(store, served, on_problem=unusable)
    stage = DecisionFabricStage(policy, served, source.resolve, shard=given.shard)
    if not given.serves:
        return Member(stage)
    cache = DecidedCache()

    def whether_usable(runs: Sequence[MemberRun]) -> None:
        """Health is well again once every active bundle is."""
        if any(key.startswith("bundle|") for run in runs for key in run.overlay.registry.changes):
            active = [Activation(*value) for key, value in stage.state.values.items() if key[:7] == "bundle|"]
            if not any(isinstance(source.held(one), BundleProblem) for one in active):
                health.ok(BUNDLES)

    access = Access.load(given.wiring.secret_source, health)
    return Member(
        stage,
        (
            access.guarded(router(cache, stage.state, source)),
            access.guarded(list_router(stage.state, source)),
        ),
        (cache.committed, whether_usable),
        (_warm_up,),
    )


def _warm_up(stop: threading.Event) -> None:
    """Import what bundles need ahead of the first activation: a second that no batch should wait for."""
    del stop
    try:
        lightgbm_library()
        import cel  # noqa: F401, PLC0415 - see sluice_decisions.rule_language
    except ModelRuntimeUnavailable as error:
        log.warning("model.runtime_unavailable", error=str(error))
