"""`sluice whatif`: a recorded run decided again with another bundle or policy; nothing on the bus changes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from sluice_cli.bundle_making import PolicyDocuments, artifact_store
from sluice_cli.options import (
    DEFAULT_WIRING,
    ArtifactRoot,
    AsJson,
    Reader,
    Tenant,
    TruthWorld,
    WiringFile,
    print_json,
)
from sluice_cli.progress import counting
from sluice_cli.recorded_cases import CaseMaker
from sluice_cli.recorded_run import BusHistory, Footing, Found, footing_of, recorded_history, spill_run
from sluice_cli.reporting import reported
from sluice_cli.run_truth import Truth, labelled, named_world, truth_of, world_of_run
from sluice_cli.whatif_report import Report, show
from sluice_cli.whatif_run import compare
from sluice_decisions import Bundle, BundleProblem, DocumentProblem, ModelRuntimeUnavailable, load_bundle
from sluice_decisions.rules import compile_rules
from sluice_decisions.thresholds import Thresholds
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.config import PolicyError, Wiring, load_wiring
from sluice_kit.replay import ReplayError
from sluice_kit.replay.reading import PRINCIPAL
from sluice_oracle import WorldError

WORLD: Final = "world"
LABELS: Final = "labels"
_EXPECTED: Final = (
    ModelRuntimeUnavailable,
    PolicyError,
    WorldError,
    OSError,
    LookupError,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the run, what decides instead, and where the truth is."""

    run: str
    tenant: str
    bundle: str | None
    policy_dir: Path | None
    world: str | None
    truth: str
    examples: int
    wiring_file: Path


def whatif(  # noqa: PLR0917 - typer makes options of parameters
    run: Annotated[str, typer.Option("--run", help="Run whose recorded payments are decided again.")],
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", help="URI of a bundle's manifest; none: the bundle that decided the run."),
    ] = None,
    policy_dir: Annotated[
        Path | None,
        typer.Option("--policy-dir", help="Rules and thresholds of this folder, not those of the bundle."),
    ] = None,
    world: TruthWorld = None,
    truth: Annotated[
        str, typer.Option("--truth", help="world, or labels: those on traffic.label, all others genuine.")
    ] = WORLD,
    examples: Annotated[int, typer.Option(min=0, help="Examples of each kind of change.")] = 5,
    tenant: Tenant = "default",
    principal: Reader = PRINCIPAL,
    artifacts: ArtifactRoot = None,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Decide a run's recorded payments again, with their recorded snapshots, postures and lists.

    Says what changes: decisions, amounts, precision and recall. Every decision is also made again with the
    bundle that made it: `baseline_identical` says whether that gave the same; if not, the exit code is 1.
    """
    asked = Asked(run, tenant, bundle, policy_dir, world, truth, examples, wiring)
    with reported(*_EXPECTED), counting("records") as advance:
        if truth not in {WORLD, LABELS}:
            raise ReplayError("TRUTH_UNKNOWN", f"--truth {truth!r} is neither {WORLD} nor {LABELS}")
        wired = load_wiring(wiring)
        with recorded_history(wired, principal, advance) as history:
            report = _Question(asked, wired, artifact_store(wiring, artifacts), history).answer()
    print_json(report.to_json()) if as_json else show(report)
    if report.baseline.identical is not True:
        raise typer.Exit(1)


class _Question:
    """One question, answered once."""

    def __init__(self, asked: Asked, wiring: Wiring, store: ArtifactStore, history: BusHistory) -> None:
        self._asked = asked
        self._wiring = wiring
        self._store = store
        self._history = history
        self._run = asked.tenant, asked.run

    def answer(self) -> Report:
        """Reads, decides and sums up. Raises ReplayError, and what stores, worlds and policies raise."""
        started = time.monotonic()
        asked = self._asked
        with tempfile.TemporaryDirectory(prefix="sluice-whatif-") as scratch:
            spill, found = spill_run(self._history, self._run, Path(scratch))
            try:
                footing = footing_of(self._history, found)
                recorded = self._recorded(footing)
                other = self._other(found, recorded)
                truth = self._truth(found)
                maker = CaseMaker(footing, asked.tenant, truth.fraud)
                baseline, comparison = compare(spill.parts(), maker, recorded, other, asked.examples)
            finally:
                spill.close()
        policy_dir = None if asked.policy_dir is None else str(asked.policy_dir)
        seconds = time.monotonic() - started
        return Report(
            asked.run,
            asked.tenant,
            other,
            policy_dir,
            found.bundles,
            maker.left_out,
            truth,
            baseline,
            comparison,
            seconds,
        )

    def _recorded(self, footing: Footing) -> dict[str, Bundle | BundleProblem]:
        """The bundles that decided, as far as they can still be loaded, by fingerprint."""
        return {name: load_bundle(self._store, manifest) for name, manifest in footing.manifests.items()}

    def _other(self, found: Found, recorded: Mapping[str, Bundle | BundleProblem]) -> Bundle:
        """The bundle that is to decide, with the rules of the policy folder where one is given."""
        chosen = self._chosen(found, recorded)
        if isinstance(chosen, BundleProblem):
            raise ReplayError("BUNDLE_UNUSABLE", str(chosen))
        if found.feature_sets and chosen.feature_set.hash not in found.feature_sets:
            raise ReplayError(
                "FEATURES_MISMATCH",
                f"bundle {chosen.bundle_id} {chosen.revision} reads feature set {chosen.feature_set.hash}; "
                f"the run's snapshots are of {', '.join(sorted(found.feature_sets))}: none could be decided",
            )
        folder = self._asked.policy_dir
        return chosen if folder is None else with_policy(chosen, folder)

    def _chosen(self, found: Found, recorded: Mapping[str, Bundle | BundleProblem]) -> Bundle | BundleProblem:
        uri = self._asked.bundle
        if uri is not None:
            return load_bundle(self._store, self._store.locate(self._store.path_of(uri)))
        names = sorted(name for name in found.bundles if name is not None)
        if len(names) != 1:
            raise ReplayError(
                "BUNDLE_NEEDED", f"{len(names)} bundles decided {self._asked.run}; name one with --bundle"
            )
        if names[0] not in recorded:
            raise ReplayError("BUNDLE_NEEDED", f"no activation of bundle {names[0]} is on control.bundle")
        return recorded[names[0]]

    def _truth(self, found: Found) -> Truth:
        asked = self._asked
        if asked.truth == LABELS:
            return labelled(self._history, self._run)
        if asked.world is not None:
            return truth_of(named_world(asked.world, asked.wiring_file, found.worlds))
        return truth_of(world_of_run(self._history, self._wiring, self._run, "--world, or --truth labels"))


def with_policy(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle's model with a folder's rules and thresholds. Raises PolicyError, ReplayError."""
    documents = PolicyDocuments.read(folder)
    rules = compile_rules(documents.policy, bundle.feature_set, str(folder / "decision_rules.yaml"))
    if isinstance(rules, DocumentProblem):
        raise ReplayError("POLICY_INVALID", str(rules))
    return replace(bundle, policy=documents.policy, rules=rules, thresholds=Thresholds(documents.thresholds))
