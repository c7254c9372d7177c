"""Sealing model, policy, thresholds and feature binding as one bundle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from sluice_decisions.bundle_manifest import (
    BUNDLES,
    DOCUMENTS,
    MODELS,
    BundleFingerprint,
    BundleManifest,
    DocumentMember,
    ModelMember,
    Probe,
    fingerprint_inputs,
)
from sluice_decisions.documents import Document
from sluice_decisions.feature_binding import FeatureBinding
from sluice_decisions.model import Matrix, TreeModel
from sluice_decisions.model_text import ModelTextProblem
from sluice_decisions.policy import DecisionPolicy
from sluice_decisions.rules import RuleSet, compile_rules
from sluice_decisions.thresholds import ThresholdTable
from sluice_kit.artifacts import ArtifactStore, Locator, SealConflict

PROBE_ROWS = 16


@dataclass(frozen=True, slots=True)
class BundleParts:
    """What a bundle is made of. `probe_rows` (integers, NaN for missing) check every loading."""

    bundle_id: str
    revision: str
    feature_set: FeatureBinding
    model_text: str
    policy: DecisionPolicy
    thresholds: ThresholdTable
    probe_rows: Matrix
    evaluation: bytes | None = None


class UnsoundBundle(ValueError):
    """The parts do not fit each other; says which and why. Nothing was sealed."""


def seal_bundle(store: ArtifactStore, parts: BundleParts, created_at: datetime) -> Locator:
    """Seal the members and the manifest; returns the manifest's locator.

    Sealed again, equal parts give the first manifest, whatever `created_at` says: the fingerprint is in its
    path. Raises UnsoundBundle, ModelRuntimeUnavailable, and what the store raises.
    """
    model = _checked_model(parts)
    text = store.put_content(MODELS, parts.model_text.encode(), ".txt")
    policy, thresholds = _sealed(store, parts.policy), _sealed(store, parts.thresholds)
    inputs = fingerprint_inputs(parts.feature_set, text, policy.locator, thresholds.locator)
    fingerprint = BundleFingerprint.of(inputs, created_at)
    manifest = BundleManifest(
        bundle_id=parts.bundle_id,
        revision=parts.revision,
        feature_set=parts.feature_set,
        model=ModelMember(locator=text, probe=_probe(model, parts.probe_rows[:PROBE_ROWS])),
        policy=policy,
        thresholds=thresholds,
        evaluation=(
            None if parts.evaluation is None else store.put_content(DOCUMENTS, parts.evaluation, ".json")
        ),
        fingerprint=fingerprint,
    )
    path = f"{BUNDLES}/{parts.bundle_id}/{parts.revision}/{fingerprint.hash}.json"
    outcome = store.seal(path, manifest.canonical())
    return store.locate(path) if isinstance(outcome, SealConflict) else outcome


def _checked_model(parts: BundleParts) -> TreeModel:
    model = TreeModel.load(parts.model_text)
    if isinstance(model, ModelTextProblem):
        raise UnsoundBundle(f"model: {model}")
    if model.features != parts.feature_set.features:
        raise UnsoundBundle("model: its columns are not the features of the feature set, in their order")
    rules = compile_rules(parts.policy, parts.feature_set, "policy")
    if not isinstance(rules, RuleSet):
        raise UnsoundBundle(str(rules))
    return model


def _sealed(store: ArtifactStore, document: Document) -> DocumentMember:
    locator = store.put_content(DOCUMENTS, document.canonical(), ".json")
    return DocumentMember(revision=document.revision, locator=locator)


def _probe(model: TreeModel, rows: Matrix) -> Probe:
    return Probe(
        rows=tuple(tuple(None if np.isnan(one) else int(one) for one in row) for row in rows.tolist()),
        scores=tuple(model.scores(rows).tolist()),
        contributions=tuple(map(tuple, model.attributions(rows).tolist())),
    )
