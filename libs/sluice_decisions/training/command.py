"""`scripts/train_model`: from a table of features and labels to a sealed bundle and its evaluation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from sluice_decisions.bundle_sealing import PROBE_ROWS, BundleParts, UnsoundBundle, seal_bundle
from sluice_decisions.documents import Document, DocumentProblem
from sluice_decisions.feature_binding import FeatureBinding
from sluice_decisions.model import TreeModel
from sluice_decisions.model_text import ModelTextProblem
from sluice_decisions.policy import DecisionPolicy
from sluice_decisions.rules import compile_rules
from sluice_decisions.thresholds import ThresholdTable
from sluice_decisions.training.evaluation import Evaluation
from sluice_decisions.training.fitting import TrainingParameters, fit
from sluice_decisions.training.periods import Periods, split
from sluice_decisions.training.table import LabelledTable, TableProblem
from sluice_kit.artifacts import ArtifactError, Locator, canonical_json, open_store

POLICY = Path("deploy/policy/decision_rules.yaml")
THRESHOLDS = Path("deploy/policy/decision_rules.thresholds.yaml")


D = TypeVar("D", bound=Document)


class Unreadable(ValueError):
    """A file that was named on the command line cannot be used; says which and why."""


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
        figures = (
            ("AUC ROC", rated.roc_auc_ppm),
            ("average precision", rated.average_precision_ppm),
            ("card precision top-100", rated.card_precision_top_100_ppm),
        )
        lines = [
            f"trained on   {self.training_rows:,} payments",
            f"tested on    {rated.rows:,} payments, {rated.frauds:,} of them fraud",
            *(f"{name:<24}{'-' if ppm is None else f'{ppm / 1e6:.3f}'}" for name, ppm in figures),
            f"sealed as    {self.manifest.uri}",
            f"             {self.manifest.digest}",
        ]
        return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, seal, report; 1 and one line on stderr when something named cannot be used."""
    options = _options().parse_args(arguments)
    try:
        trained = train(options, datetime.now(UTC))
    except (Unreadable, TableProblem, UnsoundBundle, ArtifactError, OSError) as error:
        sys.stderr.write(f"train_model: {error}\n")
        return 1
    sys.stdout.write(canonical_json(trained.document()).decode() if options.json else str(trained))
    sys.stdout.write("\n")
    return 0


def train(options: argparse.Namespace, created_at: datetime) -> Trained:
    """The whole way, with the parsed options of the command line."""
    binding = _binding(options.feature_set)
    policy = _document(DecisionPolicy, options.policy)
    thresholds = _document(ThresholdTable, options.thresholds)
    rules = compile_rules(policy, binding, str(options.policy))
    if isinstance(rules, DocumentProblem):
        raise Unreadable(str(rules))
    begin = datetime.combine(options.train_from, datetime.min.time(), UTC)
    periods = Periods(
        int(begin.timestamp()) * 1_000_000, options.train_days, options.delay_days, options.test_days
    )
    teaching, testing = split(LabelledTable.read(options.table, binding.features), periods)
    text = fit(teaching, TrainingParameters(seed=options.seed, trees=options.trees))
    model = TreeModel.load(text)
    if isinstance(model, ModelTextProblem):
        raise UnsoundBundle(f"model: {model}")
    evaluation = Evaluation.of(testing, model.scores(testing.rows))
    parts = BundleParts(
        bundle_id=options.bundle_id,
        revision=options.revision,
        feature_set=binding,
        model_text=text,
        policy=policy,
        thresholds=thresholds,
        probe_rows=testing.rows[:PROBE_ROWS],
        evaluation=canonical_json(evaluation.model_dump()),
    )
    return Trained(seal_bundle(open_store(options.artifacts), parts, created_at), evaluation, len(teaching))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("train_model", description=__doc__)
    parser.add_argument("table", type=Path, help="Parquet: features, is_fraud, ts_utc, customer_id")
    parser.add_argument(
        "--feature-set", type=Path, required=True, help="JSON: name, revision, hash, features"
    )
    parser.add_argument("--bundle-id", default="payments")
    parser.add_argument("--revision", required=True, help="of the bundle, such as 2018-08-01")
    parser.add_argument("--train-from", type=date.fromisoformat, required=True, help="first day, UTC")
    parser.add_argument("--train-days", type=int, default=7)
    parser.add_argument("--delay-days", type=int, default=7, help="until labels are known")
    parser.add_argument("--test-days", type=int, default=7)
    parser.add_argument("--policy", type=Path, default=POLICY)
    parser.add_argument("--thresholds", type=Path, default=THRESHOLDS)
    parser.add_argument("--artifacts", default=".sluice/artifacts", help="folder or s3://bucket/prefix")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trees", type=int, default=TrainingParameters().trees)
    parser.add_argument("--json", action="store_true", help="one object instead of words")
    return parser


def _binding(path: Path) -> FeatureBinding:
    try:
        return FeatureBinding.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "top level"
        raise Unreadable(f"{path}: {where}: {first['msg']}") from error


def _document(kind: type[D], path: Path) -> D:
    document = kind.parse(path.read_bytes(), str(path))
    if isinstance(document, DocumentProblem):
        raise Unreadable(str(document))
    return document


if __name__ == "__main__":
    sys.exit(main())
