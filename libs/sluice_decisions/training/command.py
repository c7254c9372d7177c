"""`scripts/train_model`: from a table of features and labels to a sealed bundle and its evaluation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from sluice_decisions.bundle_sealing import UnsoundBundle
from sluice_decisions.documents import Document, DocumentProblem
from sluice_decisions.feature_binding import FeatureBinding
from sluice_decisions.policy import DecisionPolicy
from sluice_decisions.thresholds import ThresholdTable
from sluice_decisions.training.bundling import Recipe, Trained, train_bundle
from sluice_decisions.training.fitting import TrainingParameters
from sluice_decisions.training.periods import Periods
from sluice_decisions.training.table import LabelledTable, TableProblem
from sluice_kit.artifacts import ArtifactError, canonical_json, open_store

POLICY = Path("deploy/policy/decision_rules.yaml")
THRESHOLDS = Path("deploy/policy/decision_rules.thresholds.yaml")


D = TypeVar("D", bound=Document)


class Unreadable(ValueError):
    """A file that was named on the command line cannot be used; says which and why."""


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
    periods = Periods.starting(options.train_from, options.train_days, options.delay_days, options.test_days)
    recipe = Recipe(
        bundle_id=options.bundle_id,
        revision=options.revision,
        feature_set=binding,
        policy=policy,
        thresholds=thresholds,
        periods=periods,
        parameters=TrainingParameters(seed=options.seed, trees=options.trees),
    )
    table = LabelledTable.read(options.table, binding.features)
    return train_bundle(table, recipe, open_store(options.artifacts), created_at)


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
