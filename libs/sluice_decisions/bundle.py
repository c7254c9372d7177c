"""Bundles: what decides. Loading one gives a Bundle or a BundleProblem; nothing is guessed in between."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from sluice_decisions.bundle_manifest import BundleManifest, DocumentMember, Probe, fingerprint_inputs
from sluice_decisions.documents import Document, DocumentProblem
from sluice_decisions.feature_binding import FeatureBinding
from sluice_decisions.model import TreeModel
from sluice_decisions.model_text import ModelTextProblem
from sluice_decisions.policy import DecisionPolicy
from sluice_decisions.rules import RuleSet, compile_rules
from sluice_decisions.thresholds import Thresholds, ThresholdTable
from sluice_kit.artifacts import (
    ArtifactMissing,
    ArtifactPathError,
    ArtifactStore,
    DigestMismatch,
    Locator,
    UnsupportedDigest,
)

D = TypeVar("D", bound=Document)


class BundleFault(StrEnum):
    """Why a bundle cannot be used; a reason code."""

    BUNDLE_MISSING = "BUNDLE_MISSING"
    BUNDLE_INVALID = "BUNDLE_INVALID"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    MODEL_MISSING = "MODEL_MISSING"
    MODEL_CORRUPT = "MODEL_CORRUPT"
    FEATURES_MISMATCH = "FEATURES_MISMATCH"
    POLICY_MISSING = "POLICY_MISSING"
    POLICY_INVALID = "POLICY_INVALID"


@dataclass(frozen=True, slots=True)
class BundleProblem:
    """A bundle that was not loaded: the reason code, the artifact that it is about, and what to read."""

    reason: BundleFault
    uri: str
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.uri}: {self.message}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded bundle: everything that `decide` needs. Immutable; safe to share between threads."""

    bundle_id: str
    revision: str
    fingerprint: str
    locator: Locator
    feature_set: FeatureBinding
    graph_positions: tuple[int, ...]
    model: TreeModel
    policy: DecisionPolicy
    rules: RuleSet
    thresholds: Thresholds


class _Unusable(Exception):
    def __init__(self, reason: BundleFault, uri: str, message: str) -> None:
        super().__init__(message)
        self.problem = BundleProblem(reason, uri, message)


def load_bundle(
    store: ArtifactStore, locator: Locator, served: FeatureBinding | None = None
) -> Bundle | BundleProblem:
    """Read, verify and compile a bundle from its manifest's locator.

    With `served` (what the online stage makes), another feature set is FEATURES_MISMATCH. Raises
    StoreUnavailable and ModelRuntimeUnavailable: those are trouble of the machine, not of the bundle.
    """
    try:
        return _load(store, locator, served)
    except _Unusable as unusable:
        return unusable.problem


def _load(store: ArtifactStore, locator: Locator, served: FeatureBinding | None) -> Bundle:
    manifest = BundleManifest.parse(_read(store, locator, BundleFault.BUNDLE_MISSING))
    if isinstance(manifest, str):
        raise _Unusable(BundleFault.BUNDLE_INVALID, locator.uri, manifest)
    _check_fingerprint(manifest, locator)
    difference = manifest.feature_set.difference(served) if served is not None else None
    if difference is not None:
        raise _Unusable(BundleFault.FEATURES_MISMATCH, locator.uri, difference)
    policy = _document(store, manifest.policy, DecisionPolicy)
    table = _document(store, manifest.thresholds, ThresholdTable)
    rules = compile_rules(policy, manifest.feature_set, manifest.policy.locator.uri)
    if isinstance(rules, DocumentProblem):
        raise _Unusable(
            BundleFault.POLICY_INVALID, manifest.policy.locator.uri, f"{rules.where}: {rules.message}"
        )
    return Bundle(
        bundle_id=manifest.bundle_id,
        revision=manifest.revision,
        fingerprint=manifest.fingerprint.hash,
        locator=locator,
        feature_set=manifest.feature_set,
        graph_positions=manifest.feature_set.graph_positions,
        model=_model(store, manifest),
        policy=policy,
        rules=rules,
        thresholds=Thresholds(table),
    )


def _check_fingerprint(manifest: BundleManifest, locator: Locator) -> None:
    members = (manifest.model.locator, manifest.policy.locator, manifest.thresholds.locator)
    inputs = fingerprint_inputs(manifest.feature_set, *members)
    sealed = manifest.fingerprint
    expected = sealed.of(inputs, sealed.created_at)
    if (sealed.inputs, sealed.hash) != (expected.inputs, expected.hash):
        raise _Unusable(
            BundleFault.DIGEST_MISMATCH, locator.uri, "its fingerprint is not that of the members it names"
        )


def _model(store: ArtifactStore, manifest: BundleManifest) -> TreeModel:
    locator = manifest.model.locator
    try:
        model = TreeModel.load(_read(store, locator, BundleFault.MODEL_MISSING).decode())
    except UnicodeDecodeError as error:
        raise _Unusable(BundleFault.MODEL_CORRUPT, locator.uri, "it is not text") from error
    if isinstance(model, ModelTextProblem):
        raise _Unusable(BundleFault.MODEL_CORRUPT, locator.uri, str(model))
    if model.features != manifest.feature_set.features:
        raise _Unusable(
            BundleFault.FEATURES_MISMATCH,
            locator.uri,
            f"its {len(model.features)} columns are not the {len(manifest.feature_set.features)} features "
            f"of {manifest.feature_set.name} {manifest.feature_set.revision}, in their order",
        )
    if not _passes(model, manifest.model.probe):
        raise _Unusable(
            BundleFault.MODEL_CORRUPT, locator.uri, "it does not give its probe the scores it was sealed with"
        )
    return model


def _passes(model: TreeModel, probe: Probe) -> bool:
    """Whether this machine's model gives the sealed scores: a replay elsewhere must."""
    if not probe.rows:
        return True
    if any(len(row) != len(model.features) for row in probe.rows):
        return False
    rows = np.array([[np.nan if one is None else one for one in row] for row in probe.rows], np.float64)
    return (
        tuple(model.scores(rows).tolist()) == probe.scores
        and tuple(map(tuple, model.attributions(rows).tolist())) == probe.contributions
    )


def _document(store: ArtifactStore, member: DocumentMember, kind: type[D]) -> D:
    uri = member.locator.uri
    document = kind.parse(_read(store, member.locator, BundleFault.POLICY_MISSING), uri)
    if isinstance(document, DocumentProblem):
        raise _Unusable(BundleFault.POLICY_INVALID, uri, f"{document.where}: {document.message}")
    if document.revision != member.revision:
        raise _Unusable(
            BundleFault.POLICY_INVALID, uri, f"is revision {document.revision}, not {member.revision}"
        )
    return document


def _read(store: ArtifactStore, locator: Locator, missing: BundleFault) -> bytes:
    try:
        return store.read(locator)
    except (ArtifactMissing, ArtifactPathError) as error:
        raise _Unusable(missing, locator.uri, str(error)) from error
    except (DigestMismatch, UnsupportedDigest) as error:
        raise _Unusable(BundleFault.DIGEST_MISMATCH, locator.uri, str(error)) from error
