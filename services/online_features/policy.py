"""Policy of the features stage: which feature set it executes, and its bounds."""

import hashlib
from pathlib import Path
from typing import Final

import orjson
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from sluice_contracts import contract_for
from sluice_features import FeatureSet, FeatureSetProblem
from sluice_features.definition import Source
from sluice_kit.config import FileSettings, PolicyError, load_settings

POLICY_FILE: Final = "online_features.yaml"
FEATURE_SETS: Final = "feature_sets"


class OnlineFeaturesPolicy(FileSettings):
    """What may change between deployments without a change of code; times as named.

    The environment (`SLUICE_ONLINE_FEATURES_FEATURE_SET`) wins over the file.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="SLUICE_ONLINE_FEATURES_")

    revision: str = Field(min_length=1, max_length=64)
    feature_set: str = Field(default="payments", pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    graph_wait_ms: int = Field(default=150, ge=0, le=60_000)
    idle_after_ms: int = Field(default=5_000, ge=1, le=3_600_000)
    max_waiting: int = Field(default=20_000, ge=1, le=1_000_000)
    max_early_contexts: int = Field(default=50_000, ge=1, le=1_000_000)
    early_context_hold_ms: int = Field(default=60_000, ge=1, le=3_600_000)
    forget_run_days: int = Field(default=30, ge=1, le=3_650)
    forget_closed_hours: int = Field(default=24, ge=1, le=8_760)
    remembered_snapshots: int = Field(default=50_000, ge=0, le=5_000_000)
    look_back_records: int = Field(default=200_000, ge=1, le=10_000_000)

    def fingerprint(self) -> str:
        """sha256 (hex) over what decides about outputs; bounds of look-ups are left out."""
        steering = self.model_dump(exclude={"remembered_snapshots", "look_back_records"})
        return hashlib.sha256(orjson.dumps(steering, option=orjson.OPT_SORT_KEYS)).hexdigest()


def load_policy(folder: Path) -> OnlineFeaturesPolicy:
    """Read the stage's policy. Raises PolicyError naming the file and every wrong key."""
    return load_settings(OnlineFeaturesPolicy, folder / POLICY_FILE, "policy", PolicyError)


def load_feature_set(folder: Path, name: str) -> FeatureSet:
    """Read the feature set `name` of a policy folder and hold it against the contracts.

    Raises:
        PolicyError: there is no such file, it is no feature set, or a path of it is in no event.
    """
    path = folder / FEATURE_SETS / f"{name}.json"
    try:
        found = FeatureSet.parse(path.read_bytes())
    except OSError as error:
        raise PolicyError(f"feature set {path} cannot be read: {error}; name one of {path.parent}") from error
    problem = found if isinstance(found, FeatureSetProblem) else unusable(found)
    if problem is not None:
        raise PolicyError(f"feature set {path}: {problem}")
    assert isinstance(found, FeatureSet)
    return found


def known_feature_sets(folder: Path) -> dict[str, FeatureSet]:
    """Every feature set of a policy folder by fingerprint; what is none is left out."""
    parsed = (FeatureSet.parse(path.read_bytes()) for path in sorted((folder / FEATURE_SETS).glob("*.json")))
    return {found.fingerprint(): found for found in parsed if isinstance(found, FeatureSet)}


def unusable(feature_set: FeatureSet) -> FeatureSetProblem | None:
    """Why the events of the bus cannot feed a feature set, None when they can."""
    payments, labels, contexts = (_fields(name) for name in ("payment", "label", "graph_context"))
    for entity, path in feature_set.entities.items():
        if path not in payments:
            return FeatureSetProblem(f"entities.{entity}: a payment has no field {path}")
    if feature_set.amount not in payments:
        return FeatureSetProblem(f"amount: a payment has no field {feature_set.amount}")
    for number, group in enumerate(feature_set.groups):
        path = feature_set.entities[group.entity]
        if group.source is Source.LABEL and path not in labels:
            return FeatureSetProblem(f"groups.{number}: a label has no field {path}")
    for number, feature in enumerate(feature_set.graph):
        if feature.field not in contexts - {"tenant", "run_id", "event_id", "graph_basis", "integrity"}:
            return FeatureSetProblem(f"graph.{number}: a graph context has no number {feature.field}")
    return None


def _fields(event_type: str) -> set[str]:
    """Dotted paths of a contract's fields."""
    fields = contract_for(event_type).schema["fields"]
    return {name for field in fields for name in _paths(field, "")}


def _paths(field: dict[str, object], before: str) -> set[str]:
    name, kind = f"{before}{field['name']}", field["type"]
    if isinstance(kind, dict) and kind.get("type") == "record":
        return {path for inner in kind["fields"] for path in _paths(inner, f"{name}.")}
    return {name}
