"""`sluice bundle train` and `sluice bundle seal`: from a world or a model's text to a bundle."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import numpy as np
import typer

from services.decision_fabric.policy_files import (
    binding_of,
    read_feature_set,
)
from sluice_cli.options import (
    DEFAULT_WIRING,
    ArtifactRoot,
    AsJson,
    DelayDays,
    TestDays,
    TrainDays,
    TrainFrom,
    WiringFile,
    print_json,
)
from sluice_cli.reporting import reported
from sluice_cli.world_commands import OracleRoot, WorldName, opened_world
from sluice_cli.world_training import given_periods, last_periods, world_table
from sluice_decisions import (
    BundleParts,
    DecisionPolicy,
    DocumentProblem,
    FeatureBinding,
    ModelRuntimeUnavailable,
    ThresholdTable,
    UnsoundBundle,
    seal_bundle,
)
from sluice_decisions.bundle_sealing import PROBE_ROWS
from sluice_decisions.documents import Document
from sluice_decisions.model import Matrix
from sluice_decisions.training import (
    Periods,
    Recipe,
    Shares,
    TableProblem,
    Trained,
    TrainingParameters,
    train_bundle,
)
from sluice_features import FeatureError
from sluice_kit.artifacts import ArtifactStore, Locator, open_artifacts, open_store
from sluice_kit.config import PolicyError, load_wiring
from sluice_kit.config.wiring import POLICY_DIR
from sluice_oracle import World, WorldError

D = TypeVar("D", bound=Document)
_EXPECTED: Final = (
    FeatureError,
    ModelRuntimeUnavailable,
    OSError,
    PolicyError,
    TableProblem,
    UnsoundBundle,
    WorldError,
    LookupError,
)

PolicyFolder = Annotated[
    Path,
    typer.Option("--policy-dir", help="Folder with decision_rules.yaml, its thresholds and feature_sets/."),
]
BundleName = Annotated[str, typer.Option("--bundle-id", help="Name of the bundle.")]


@dataclass(frozen=True, slots=True)
class PolicyDocuments:
    """What a bundle takes from a policy folder."""

    feature_set: FeatureBinding
    policy: DecisionPolicy
    thresholds: ThresholdTable

    @classmethod
    def read(cls, folder: Path) -> PolicyDocuments:
        """Raises PolicyError naming the file and what is wrong in it."""
        return cls(
            binding_of(read_feature_set(folder)),
            _document(DecisionPolicy, folder / "decision_rules.yaml"),
            _document(ThresholdTable, folder / "decision_rules.thresholds.yaml"),
        )


def train(  # noqa: PLR0917 - typer makes options of parameters
    world: WorldName,
    bundle_id: BundleName = "payments",
    revision: Annotated[
        str | None, typer.Option(help="Revision of the bundle; none: made of the world's fingerprint.")
    ] = None,
    train_from: TrainFrom = None,
    train_days: TrainDays = 7,
    delay_days: DelayDays = 7,
    test_days: TestDays = 7,
    trees: Annotated[int, typer.Option(min=1, max=2000, help="Trees of the model.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 0,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Thresholds that 2 %, 0.5 % and 0.2 % of the tested payments reach, not the policy's.",
        ),
    ] = False,
    policy_dir: PolicyFolder = POLICY_DIR,
    artifacts: ArtifactRoot = None,
    wiring: WiringFile = DEFAULT_WIRING,
    oracle_root: OracleRoot = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a sealed world's own truth and seal it with the policy as a bundle."""
    with told(as_json):
        started = time.perf_counter()
        training = train_on(
            opened_world(world, wiring, oracle_root),
            artifact_store(wiring, artifacts),
            TrainingParameters(trees=trees, seed=seed),
            policy_dir=policy_dir,
            bundle_id=bundle_id,
            revision=revision,
            periods=given_periods(train_from, train_days, delay_days, test_days),
            calibrate=calibrate,
        )
        recipe, trained = training.recipe, training.bundle
        facts = {
            "ok": True,
            "bundle_id": bundle_id,
            "revision": recipe.revision,
            "fingerprint": fingerprint_in(trained.manifest),
            "payments": training.payments,
            **trained.document(),
            "seconds": round(time.perf_counter() - started, 2),
        }
        if as_json:
            print_json(facts)
        else:
            typer.echo(
                f"bundle {bundle_id} {recipe.revision}\n{trained}\nsluice bundle activate puts it in force."
            )


@dataclass(frozen=True, slots=True)
class Training:
    """What a world taught: the sealed bundle, how it was made, and from how many payments."""

    recipe: Recipe
    bundle: Trained
    payments: int


def train_on(
    world: World,
    store: ArtifactStore,
    parameters: TrainingParameters,
    *,
    policy_dir: Path = POLICY_DIR,
    bundle_id: str = "payments",
    revision: str | None = None,
    periods: Periods | None = None,
    calibrate: bool = False,
) -> Training:
    """Train on a sealed world's own truth and seal with the folder's policy; equal inputs, equal bundle.

    Without `revision` it is made of the world's fingerprint, without `periods` the world's last three weeks
    are used. Raises what reading policy and world raises, TableProblem, UnsoundBundle, ArtifactError.
    """
    documents = PolicyDocuments.read(policy_dir)
    table = world_table(world, read_feature_set(policy_dir))
    recipe = Recipe(
        bundle_id=bundle_id,
        revision=revision or f"world-{world.manifest.manifest_fingerprint[:12]}-{parameters.seed}",
        feature_set=documents.feature_set,
        policy=documents.policy,
        thresholds=Shares() if calibrate else documents.thresholds,
        periods=periods or last_periods(table),
        parameters=parameters,
    )
    return Training(recipe, train_bundle(table, recipe, store, datetime.now(UTC)), len(table))


def seal(  # noqa: PLR0917 - typer makes options of parameters
    model: Annotated[Path, typer.Argument(help="A model as LightGBM's text.", exists=True, dir_okay=False)],
    revision: Annotated[str, typer.Option(help="Revision of the bundle.")],
    bundle_id: BundleName = "payments",
    policy_dir: PolicyFolder = POLICY_DIR,
    artifacts: ArtifactRoot = None,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Seal a model's text with policy, thresholds and feature set. Equal parts give the same bundle."""
    with told(as_json):
        documents = PolicyDocuments.read(policy_dir)
        parts = BundleParts(
            bundle_id=bundle_id,
            revision=revision,
            feature_set=documents.feature_set,
            model_text=_text(model),
            policy=documents.policy,
            thresholds=documents.thresholds,
            probe_rows=drawn_probe(len(documents.feature_set.features)),
        )
        manifest = seal_bundle(artifact_store(wiring, artifacts), parts, datetime.now(UTC))
        facts = {
            "ok": True,
            "bundle_id": bundle_id,
            "revision": revision,
            "fingerprint": fingerprint_in(manifest),
            "manifest": manifest.to_fields(),
        }
        print_json(facts) if as_json else typer.echo(f"sealed as {manifest.uri}\n          {manifest.digest}")


def artifact_store(wiring: Path, root: str | None) -> ArtifactStore:
    """The store that was named, else the wiring's."""
    return open_store(root) if root else open_artifacts(load_wiring(wiring))


def fingerprint_in(manifest: Locator) -> str:
    """A bundle's fingerprint: the name of its manifest."""
    return manifest.uri.rpartition("/")[2].removesuffix(".json")


def drawn_probe(features: int) -> Matrix:
    """Rows to check a bundle with where no data are at hand: whole numbers of every size, some missing."""
    chance = np.random.default_rng(0)
    sizes = 10 ** chance.integers(0, 7, (PROBE_ROWS, features))
    rows = np.floor(chance.random((PROBE_ROWS, features)) * sizes)
    rows[chance.random(rows.shape) < 0.1] = np.nan
    return rows


def told(as_json: bool) -> AbstractContextManager[None]:
    """As for all commands, with what may happen to a bundle."""
    return reported(*_EXPECTED, as_json=as_json)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UnsoundBundle(f"{path} is not text") from error


def _document(kind: type[D], path: Path) -> D:
    try:
        found: Any = kind.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror or error}") from error
    if isinstance(found, DocumentProblem):
        raise PolicyError(str(found))
    document: D = found
    return document
