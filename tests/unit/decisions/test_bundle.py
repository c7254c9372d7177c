from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from sluice_decisions import Bundle, BundleFault, BundleProblem, UnsoundBundle, load_bundle, seal_bundle
from sluice_decisions.bundle_manifest import BundleFingerprint, BundleManifest, fingerprint_inputs
from sluice_kit.artifacts import ArtifactStore, Locator
from tests.unit.decisions import parts as small

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def problem(loaded: Bundle | BundleProblem) -> BundleProblem:
    assert isinstance(loaded, BundleProblem), loaded
    return loaded


def manifest_of(store: ArtifactStore, locator: Locator) -> BundleManifest:
    manifest = BundleManifest.parse(store.read(locator))
    assert isinstance(manifest, BundleManifest), manifest
    return manifest


def resealed(store: ArtifactStore, locator: Locator, **changes: Any) -> Locator:
    """A manifest with other members that says so in its fingerprint, as a careless hand would make it."""
    content = orjson.loads(store.read(locator))
    for path, value in changes.items():
        *steps, last = path.split("__")
        inner = content
        for step in steps:
            inner = inner[step]
        inner[last] = value
    manifest = BundleManifest.model_validate_json(orjson.dumps(content))
    members = (manifest.model.locator, manifest.policy.locator, manifest.thresholds.locator)
    inputs = fingerprint_inputs(manifest.feature_set, *members)
    sealed = manifest.model_copy(update={"fingerprint": BundleFingerprint.of(inputs, CREATED)})
    return store.put_content("registry/altered", sealed.canonical(), ".json")


def put(store: ArtifactStore, data: bytes) -> dict[str, Any]:
    return store.put_content("registry/altered", data).to_fields()


def alter(store: ArtifactStore, locator: Locator) -> None:
    path = store.local_path(locator)
    assert path is not None
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_what_was_sealed_is_what_is_loaded(bundle: Bundle, sealed: Locator) -> None:
    assert (bundle.bundle_id, bundle.revision) == ("payments", "b1")
    assert bundle.locator == sealed
    assert bundle.fingerprint in sealed.uri
    assert bundle.policy == small.policy()
    assert bundle.feature_set == small.BINDING
    assert bundle.graph_positions == (4,)


def test_a_rebuild_has_the_same_fingerprint_and_is_the_same_bundle(store: ArtifactStore, text: str) -> None:
    first = seal_bundle(store, small.parts(text), CREATED)
    again = seal_bundle(store, small.parts(text), datetime(2030, 1, 1, tzinfo=UTC))
    assert again == first


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": small.policy(revision="rules-2")},
        {"thresholds": small.thresholds({"amount_from": 0, "decline": 1})},
        {"feature_set": small.BINDING.model_copy(update={"revision": "r2"})},
    ],
)
def test_each_member_changes_the_fingerprint(
    store: ArtifactStore, text: str, changes: dict[str, Any]
) -> None:
    one = manifest_of(store, seal_bundle(store, small.parts(text), CREATED)).fingerprint
    other = manifest_of(store, seal_bundle(store, small.parts(text, **changes), CREATED)).fingerprint
    assert one.hash != other.hash
    assert sum(one.inputs[name] != other.inputs[name] for name in one.inputs) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "feature_set": small.BINDING.model_copy(
                    update={"features": tuple("abcde"), "graph_features": ()}
                )
            },
            "columns",
        ),
        ({"model_text": "tree\nrubbish"}, "model:"),
        (
            {"policy": small.policy(rules=[{**small.POLICY["rules"][0], "when": "features.x > 1"}])},
            "rule blocked",
        ),
    ],
)
def test_parts_that_do_not_fit_are_not_sealed(
    store: ArtifactStore, text: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnsoundBundle, match=words):
        seal_bundle(store, small.parts(text, **changes), CREATED)
    assert store.list("registry") == []


def test_an_absent_manifest_and_one_that_is_none(store: ArtifactStore, text: str) -> None:
    locator = seal_bundle(store, small.parts(text), CREATED)
    elsewhere = locator.model_copy(update={"uri": "artifact://registry/bundles/none.json"})
    assert problem(load_bundle(store, elsewhere)).reason is BundleFault.BUNDLE_MISSING
    unpinned = locator.model_copy(update={"uri": "artifact://nowhere/none.json"})
    assert problem(load_bundle(store, unpinned)).reason is BundleFault.BUNDLE_MISSING
    rubbish = store.put_content("registry/altered", b'{"schema_version": 1}')
    refused = problem(load_bundle(store, rubbish))
    assert refused.reason is BundleFault.BUNDLE_INVALID
    assert "bundle_id" in refused.message


@pytest.mark.parametrize("member", ["manifest", "model", "policy", "thresholds"])
def test_an_altered_byte_anywhere_is_a_digest_mismatch(store: ArtifactStore, text: str, member: str) -> None:
    locator = seal_bundle(store, small.parts(text), CREATED)
    manifest = manifest_of(store, locator)
    altered = locator if member == "manifest" else getattr(manifest, member).locator
    alter(store, altered)
    refused = problem(load_bundle(store, locator))
    assert refused.reason is BundleFault.DIGEST_MISMATCH
    assert refused.uri == altered.uri


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("model", BundleFault.MODEL_MISSING),
        ("policy", BundleFault.POLICY_MISSING),
        ("thresholds", BundleFault.POLICY_MISSING),
    ],
)
def test_an_absent_member_is_named(store: ArtifactStore, text: str, member: str, reason: BundleFault) -> None:
    locator = seal_bundle(store, small.parts(text), CREATED)
    absent = getattr(manifest_of(store, locator), member).locator
    path = store.local_path(absent)
    assert path is not None
    path.unlink()
    refused = problem(load_bundle(store, locator))
    assert (refused.reason, refused.uri) == (reason, absent.uri)


def test_a_model_that_is_whole_but_no_model_is_corrupt(store: ArtifactStore, text: str) -> None:
    locator = seal_bundle(store, small.parts(text), CREATED)
    for data in (text[: len(text) // 2].encode(), b"\xff\xfe", b""):
        broken = resealed(store, locator, model__locator=put(store, data))
        assert problem(load_bundle(store, broken)).reason is BundleFault.MODEL_CORRUPT


def test_a_model_that_scores_its_probe_otherwise_is_corrupt(store: ArtifactStore, text: str) -> None:
    locator = seal_bundle(store, small.parts(text), CREATED)
    other = small.model_text(seed=8).encode()
    refused = problem(load_bundle(store, resealed(store, locator, model__locator=put(store, other))))
    assert refused.reason is BundleFault.MODEL_CORRUPT
    assert "probe" in refused.message


def test_a_model_with_other_columns_than_the_set(store: ArtifactStore, text: str) -> None:
    locator = seal_bundle(store, small.parts(text), CREATED)
    other = text.replace("amount", "volume").encode()
    refused = problem(load_bundle(store, resealed(store, locator, model__locator=put(store, other))))
    assert refused.reason is BundleFault.FEATURES_MISMATCH


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"revision": "r2"}, "served is payments r2"),
        ({"hash": "0" * 64}, "served is payments r1 (000000000000)"),
        ({"features": (*small.FEATURES[1:], small.FEATURES[0])}, "another order"),
    ],
)
def test_a_bundle_for_another_feature_set_than_the_served_one(
    kept: ArtifactStore, sealed: Locator, changes: dict[str, Any], words: str
) -> None:
    assert isinstance(load_bundle(kept, sealed, small.BINDING), Bundle)
    refused = problem(load_bundle(kept, sealed, small.BINDING.model_copy(update=changes)))
    assert refused.reason is BundleFault.FEATURES_MISMATCH
    assert words in refused.message


def test_a_policy_that_is_whole_but_cannot_be_used(store: ArtifactStore, text: str) -> None:
    locator = seal_bundle(store, small.parts(text), CREATED)
    for data, words in (
        (b"revision: [", "line 1"),
        (small.policy(revision="other").canonical(), "is revision other, not rules-1"),
        (
            small.policy(rules=[{**small.POLICY["rules"][0], "when": "features.x > 1"}]).canonical(),
            "rule blocked, line 1",
        ),
    ):
        refused = problem(load_bundle(store, resealed(store, locator, policy__locator=put(store, data))))
        assert refused.reason is BundleFault.POLICY_INVALID
        assert words in refused.message


def test_a_fingerprint_that_is_not_its_members(store: ArtifactStore, text: str) -> None:
    locator = seal_bundle(store, small.parts(text), CREATED)
    content = orjson.loads(store.read(locator))
    content["policy"]["locator"] = put(store, small.policy(attributions=1).canonical())
    forged = store.put_content("registry/altered", orjson.dumps(content))
    assert problem(load_bundle(store, forged)).reason is BundleFault.DIGEST_MISMATCH


def test_the_probe_holds_missing_values_and_the_sealed_scores(
    kept: ArtifactStore, sealed: Locator, bundle: Bundle
) -> None:
    probe = manifest_of(kept, sealed).model.probe
    rows = small.table(64).rows[:16]
    assert [[one is None for one in row] for row in probe.rows] == np.isnan(rows).tolist()
    assert list(probe.scores) == bundle.model.scores(rows).tolist()
    assert Path(kept.local_path(sealed) or "").is_file()
