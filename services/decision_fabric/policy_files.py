"""Policy that the fabric reads at its start: its own, and the feature set that is served."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.decision_fabric.policy import FILE, FabricPolicy
from sluice_decisions import DocumentProblem, FeatureBinding
from sluice_features import FeatureSet, FeatureSetProblem
from sluice_kit.config import PolicyError
from sluice_kit.config.wiring import POLICY_DIR

FEATURE_SET: Final = "feature_sets/payments.json"


def read_policy(folder: Path = POLICY_DIR) -> FabricPolicy:
    """The fabric's policy. Raises PolicyError."""
    path = folder / FILE
    found = FabricPolicy.parse(_content(path), str(path))
    if isinstance(found, DocumentProblem):
        raise PolicyError(str(found))
    return found


def read_feature_set(folder: Path = POLICY_DIR) -> FeatureSet:
    """The feature set that the online stage serves. Raises PolicyError."""
    path = folder / FEATURE_SET
    found = FeatureSet.parse(_content(path))
    if isinstance(found, FeatureSetProblem):
        raise PolicyError(f"{path}: {found}")
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
        raise PolicyError(f"{path}: {error.strerror or error}") from error
