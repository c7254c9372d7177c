"""Policy that the fabric reads at its start: its own, and the feature set that is served."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.decision_fabric.policy import FILE, FabricPolicy
from sluice_decisions import DocumentProblem, FeatureBinding
from sluice_features import FeatureSet, FeatureSetProblem

DEFAULT_FOLDER: Final = Path(__file__).parents[2] / "deploy" / "policy"
FEATURE_SET: Final = "feature_sets/payments.json"


class PolicyUnreadable(ValueError):
    """A policy file cannot be used; says which, where in it, and why."""


def read_policy(folder: Path = DEFAULT_FOLDER) -> FabricPolicy:
    """The fabric's policy. Raises PolicyUnreadable."""
    path = folder / FILE
    found = FabricPolicy.parse(_content(path), str(path))
    if isinstance(found, DocumentProblem):
        raise PolicyUnreadable(str(found))
    return found


def read_feature_set(folder: Path = DEFAULT_FOLDER) -> FeatureSet:
    """The feature set that the online stage serves. Raises PolicyUnreadable."""
    path = folder / FEATURE_SET
    found = FeatureSet.parse(_content(path))
    if isinstance(found, FeatureSetProblem):
        raise PolicyUnreadable(f"{path}: {found}")
    return found


def binding_of(feature_set: FeatureSet) -> FeatureBinding:
    """What a bundle names of a feature set: its identity, its features in order, those of the graph."""
    name, revision, digest = feature_set.ref
    return FeatureBinding(
        name=name,
        revision=revision,
        hash=digest,
        features=tuple(feature.name for feature in feature_set.features),
        graph_features=tuple(feature.name for feature in feature_set.graph),
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyUnreadable(f"{path}: {error.strerror or error}") from error
