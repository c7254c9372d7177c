"""From a labelled table to a sealed bundle: split, fit, evaluate, seal."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sluice_decisions.bundle_sealing import PROBE_ROWS, BundleParts, UnsoundBundle, seal_bundle
from sluice_decisions.documents import DocumentProblem
from sluice_decisions.feature_binding import FeatureBinding
from sluice_decisions.model import TreeModel
from sluice_decisions.model_text import ModelTextProblem
from sluice_decisions.policy import DecisionPolicy
from sluice_decisions.rules import compile_rules
from sluice_decisions.thresholds import ThresholdTable
from sluice_decisions.training.calibration import Shares, calibrated
from sluice_decisions.training.evaluation import Evaluation
from sluice_decisions.training.fitting import TrainingParameters, fit
from sluice_decisions.training.periods import Periods, split
from sluice_decisions.training.table import LabelledTable
from sluice_kit.artifacts import ArtifactStore, Locator, canonical_json


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a bundle is to be made of, beside the table.

    `thresholds`: a table, or the shares of the test period's payments to take one from.
    """

    bundle_id: str
    revision: str
    feature_set: FeatureBinding
    policy: DecisionPolicy
    thresholds: ThresholdTable | Shares
    periods: Periods
    parameters: TrainingParameters = field(default_factory=TrainingParameters)


@dataclass(frozen=True, slots=True)
class Trained:
    """A sealed bundle and how well its model ranked the test period."""

    manifest: Locator
    evaluation: Evaluation
    training_rows: int

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "manifest": self.manifest.to_fields(),
            "training_rows": self.training_rows,
            "evaluation": self.evaluation.model_dump(),
        }

    def __str__(self) -> str:
        rated = self.evaluation
        lines = [
            f"trained on   {self.training_rows:,} payments",
            f"tested on    {rated.rows:,} payments, {rated.frauds:,} of them fraud",
            *(f"{name:<24}{figure}" for name, figure in rated.figures().items()),
            f"sealed as    {self.manifest.uri}",
            f"             {self.manifest.digest}",
        ]
        return "\n".join(lines)


def train_bundle(table: LabelledTable, recipe: Recipe, store: ArtifactStore, created_at: datetime) -> Trained:
    """Train on one period, rate on the other, seal. Equal tables and recipes give equal fingerprints.

    Raises TableProblem, UnsoundBundle (rules that do not fit the features), ModelRuntimeUnavailable, and what
    the store raises.
    """
    rules = compile_rules(recipe.policy, recipe.feature_set, "policy")
    if isinstance(rules, DocumentProblem):
        raise UnsoundBundle(str(rules))
    teaching, testing = split(table, recipe.periods)
    text = fit(teaching, recipe.parameters)
    model = TreeModel.load(text)
    if isinstance(model, ModelTextProblem):
        raise UnsoundBundle(f"model: {model}")
    scores = model.scores(testing.rows)
    evaluation = Evaluation.of(testing, scores)
    thresholds = recipe.thresholds
    if isinstance(thresholds, Shares):
        thresholds = calibrated(scores, thresholds, f"{recipe.revision}-calibrated"[:64])
    parts = BundleParts(
        bundle_id=recipe.bundle_id,
        revision=recipe.revision,
        feature_set=recipe.feature_set,
        model_text=text,
        policy=recipe.policy,
        thresholds=thresholds,
        probe_rows=testing.rows[:PROBE_ROWS],
        evaluation=canonical_json(evaluation.model_dump()),
    )
    return Trained(seal_bundle(store, parts, created_at), evaluation, len(teaching))
