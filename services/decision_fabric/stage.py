"""The decision fabric as the kit sees it, and what a process runs beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import APIRouter

from services.decision_fabric.api import router
from services.decision_fabric.bundle_source import BundleSource
from services.decision_fabric.core import Resolve, step
from services.decision_fabric.decided import DecidedCache
from services.decision_fabric.model import INPUTS, SERVICE, Activation
from services.decision_fabric.policy import FabricPolicy
from services.decision_fabric.policy_files import (
    DEFAULT_FOLDER,
    PolicyUnreadable,
    binding_of,
    read_feature_set,
    read_policy,
)
from services.decision_fabric.state import DecisionOverlay, DecisionState
from sluice_decisions import BundleProblem, FeatureBinding, ModelRuntimeUnavailable
from sluice_decisions.model import lightgbm_library
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.http.access import Access
from sluice_kit.stage import (
    Batch,
    ChainSpec,
    Coordinate,
    MemberRun,
    Record,
    StageError,
    StepResult,
    code_revision,
    control_first,
)
from sluice_kit.stage.process import StageArguments
from sluice_kit.telemetry import Health, get_logger

log = get_logger("decision_fabric")

HEALTH_CHECK: Final = "bundles"
"""The health check that says which active bundle cannot be used."""
_STEP_MODULES: Final = (
    "bundle_source",
    "core",
    "encoding",
    "intake",
    "lists",
    "model",
    "policy",
    "signals",
    "state",
    "templates",
)
CODE: Final = (
    *(f"services.decision_fabric.{name}" for name in _STEP_MODULES),
    "sluice_decisions",
    "sluice_kit.stage",
    "sluice_contracts",
)
"""What decides about outputs; REST and tools beside the step may change without a new code revision."""


class DecisionFabricStage:
    """Reads what steers, payments and snapshots; puts decisions and intents on its lane."""

    name = SERVICE
    inputs: Sequence[str] = INPUTS
    code: Sequence[str] = CODE

    def __init__(
        self, policy: FabricPolicy, served: FeatureBinding, resolve: Resolve, *, shard: int = 0
    ) -> None:
        self.state = DecisionState()
        self.revision: Sequence[str] = (policy.fingerprint(), served.hash)
        self._policy = policy
        self._resolve = resolve
        self._shard = shard

    def order(self, records: Sequence[Record]) -> list[Record]:
        """Control topics first. Payments are decided by run and `ts_utc` within the step (`core`)."""
        return control_first(records, INPUTS)

    def step(self, overlay: DecisionOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return step(overlay, batch, self._policy, self._resolve, self._shard)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Nothing that this stage writes ends in coordinates of its own facts."""
        return [b""] * len(coordinates)


def decision_chain(stage: DecisionFabricStage) -> ChainSpec:
    """The fabric as a process of its own."""
    code_rev = code_revision(stage.code)
    return ChainSpec((stage,), stage.order, f"{code_rev}-{'-'.join(one[:12] for one in stage.revision)}")


class FabricParts(NamedTuple):
    """The stage and what runs beside it."""

    stage: DecisionFabricStage
    routers: Sequence[APIRouter]
    after_commit: Sequence[Callable[[Sequence[MemberRun]], None]]
    background: Sequence[Callable[[threading.Event], None]]


def open_fabric(
    given: StageArguments, store: ArtifactStore, health: Health, policy_dir: Path = DEFAULT_FOLDER
) -> FabricParts:
    """Wire the fabric. Raises StageError (policy that cannot be used), TokenFileError."""
    try:
        policy, served = read_policy(policy_dir), binding_of(read_feature_set(policy_dir))
    except PolicyUnreadable as error:
        raise StageError(str(error)) from error

    def unusable(activation: Activation, problem: BundleProblem) -> None:
        log.error("bundle.unusable", activation=activation.event_id, problem=str(problem))
        health.degraded(HEALTH_CHECK, f"bundle {activation.bundle_id} {activation.revision}: {problem}")

    source = BundleSource(store, served, on_problem=unusable)
    stage = DecisionFabricStage(policy, served, source.resolve, shard=given.shard)
    cache = DecidedCache()

    def whether_usable(runs: Sequence[MemberRun]) -> None:
        """Health is well again once every active bundle is."""
        if any(key.startswith("bundle|") for run in runs for key in run.overlay.registry.changes):
            active = [Activation(*value) for key, value in stage.state.values.items() if key[:7] == "bundle|"]
            if not any(isinstance(source.held(one), BundleProblem) for one in active):
                health.ok(HEALTH_CHECK)

    access = Access.load(given.wiring.secret_source, health)
    return FabricParts(
        stage,
        (access.guarded(router(cache, stage.state, source)),),
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
