"""Bundles under the step: what cannot be used is told and never silently replaced; a replay never differs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.decision_fabric.bundle_source import (
    BundleGone,
    BundleSource,
    BundleStoreAway,
    BundleUnloadable,
    ResolutionSpoilt,
    resolution_path,
)
from services.decision_fabric.model import BUNDLES, Activation
from sluice_contracts import Decoded, decode
from sluice_decisions import (
    Bundle,
    BundleProblem,
    FeatureBinding,
    ModelRuntimeUnavailable,
    load_bundle,
    seal_bundle,
)
from sluice_kit.artifacts import ArtifactStore, Locator, StoreUnavailable
from sluice_kit.stage import StageError
from tests.unit.decision_fabric.parts import Fabric, activation
from tests.unit.decisions import parts as small

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
MakeFabric = Callable[..., Fabric]


@pytest.fixture
def own(own_store: ArtifactStore, text: str) -> Fabric:
    """A fabric over a store and a bundle of its own."""
    return Fabric(own_store, seal_bundle(own_store, small.parts(text), WHEN))


def named(fabric: Fabric, **changes: Any) -> Activation:
    found = decode(activation(fabric.store, fabric.locator, **changes))
    assert isinstance(found, Decoded)
    return Activation.of(found.fields)


def remove(store: ArtifactStore, locator: Locator) -> bytes:
    path = store.local_path(locator)
    assert path is not None
    content = path.read_bytes()
    path.chmod(0o600)
    path.unlink()
    return content


def model_of(fabric: Fabric) -> Locator:
    (path,) = fabric.store.list("registry/models")
    return fabric.store.locate(path.path)


def test_the_narrower_scope_decides(make: MakeFabric, kept: ArtifactStore, text: str) -> None:
    fabric = make().ready()
    stricter = small.parts(
        text, revision="b2", thresholds=small.thresholds({"amount_from": 0, "step_up": 0, "review": 0})
    )
    fabric.locator = seal_bundle(kept, stricter, WHEN)
    fabric.activate("tenant:acme")
    fabric.driver.step()
    fabric.decide("e1")
    fabric.decide("e2", tenant="acme")
    assert [(one["bundle_revision"], one["outcome"]) for one in fabric.decisions()] == [
        ("b1", "ALLOW"),
        ("b2", "REVIEW"),
    ]


def test_a_later_activation_replaces_the_one_before(make: MakeFabric, kept: ArtifactStore, text: str) -> None:
    fabric = make().ready()
    fabric.decide("e1")
    fabric.locator = seal_bundle(kept, small.parts(text, revision="b3"), WHEN)
    fabric.activate()
    fabric.decide("e2")
    assert [one["bundle_revision"] for one in fabric.decisions()] == ["b1", "b3"]


def test_a_missing_model_is_a_fallback_with_its_reason(own: Fabric) -> None:
    remove(own.store, model_of(own))
    own.ready()
    (decision,) = own.decide("e1")
    assert (decision["mode"], decision["outcome"]) == ("FALLBACK", "REVIEW")
    assert decision["reason_codes"] == ["BUNDLE_UNRESOLVED", "MODEL_MISSING"]
    own.driver.advance(1)
    assert own.signalled()["without_bundle"] == 1
    assert own.events("service_signal")[-1]["payload"]["status"] == "degraded"


def test_an_altered_byte_is_a_fallback_with_its_reason(own: Fabric) -> None:
    path = own.store.local_path(model_of(own))
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"tree", b"treE", 1))
    (decision,) = own.ready().decide("e1")
    assert decision["reason_codes"] == ["BUNDLE_UNRESOLVED", "DIGEST_MISMATCH"]


def test_a_bundle_of_another_feature_set_is_a_fallback_with_its_reason(
    own_store: ArtifactStore, text: str
) -> None:
    other = small.BINDING.model_copy(update={"revision": "r9"})
    fabric = Fabric(own_store, seal_bundle(own_store, small.parts(text, feature_set=other), WHEN)).ready()
    (decision,) = fabric.decide("e1")
    assert decision["reason_codes"] == ["BUNDLE_UNRESOLVED", "FEATURES_MISMATCH"]


@pytest.mark.parametrize(
    "changes",
    [
        {"bundle_revision": "b9"},
        {"fingerprint": {"algo": "sha256", "hash": "1" * 64, "created_at": None, "inputs": {}}},
    ],
)
def test_an_activation_that_names_another_bundle_than_its_manifest_is_refused(
    own: Fabric, changes: dict[str, Any]
) -> None:
    found = own.source.resolve(named(own, **changes))
    assert isinstance(found, BundleProblem)
    assert found.reason == "BUNDLE_INVALID"


def test_a_uri_that_is_none_is_a_problem_and_no_crash(own: Fabric) -> None:
    found = own.source.resolve(named(own)._replace(uri="no uri"))
    assert isinstance(found, BundleProblem)
    assert found.reason == "BUNDLE_INVALID"


def test_what_was_missing_first_stays_missing_for_that_activation(own: Fabric) -> None:
    """A replay of its batches must decide as they were decided, although the model is there by now."""
    model = model_of(own)
    content = remove(own.store, model)
    first = own.source.resolve(named(own))
    own.store.seal(own.store.path_of(model.uri), content)
    again = BundleSource(own.store, small.BINDING)
    assert again.resolve(named(own)) == first
    assert isinstance(again.resolve(named(own, event_id="activated-again")), Bundle)


def test_what_was_loaded_once_and_is_gone_stops_a_replay(own: Fabric) -> None:
    active = named(own)
    assert isinstance(own.source.resolve(active), Bundle)
    remove(own.store, model_of(own))
    with pytest.raises(BundleGone, match="payments b1 was in use and cannot be loaded now: MODEL_MISSING"):
        BundleSource(own.store, small.BINDING).resolve(active)
    assert isinstance(own.source.resolve(active), Bundle), "a process that holds it goes on"


def test_a_replay_with_the_artifact_missing_fails_and_decides_nothing(own: Fabric) -> None:
    active = activation(own.store, own.locator)
    own.ready().decide("e1")
    remove(own.store, model_of(own))
    replayed = Fabric(own.store, own.locator)
    replayed.driver.pipe(BUNDLES, active)
    replayed.posture()
    with pytest.raises(BundleGone):
        replayed.decide("e1")
    assert replayed.decisions() == []


@pytest.mark.parametrize(
    "spoilt", [b"", b"[]", b'{"outcome": "SIDEWAYS", "uri": "", "message": ""}', b'{"schema_version": 1}']
)
def test_a_resolution_that_says_nothing_stops_with_the_name_of_its_file(own: Fabric, spoilt: bytes) -> None:
    active = named(own)
    path = resolution_path(active, small.BINDING)
    own.store.seal(path, spoilt)
    with pytest.raises(ResolutionSpoilt) as told:
        own.source.resolve(active)
    assert path in str(told.value)
    assert "Restore the file" in str(told.value)
    assert isinstance(told.value, StageError), "the runner stops on it and looks for no poison"


class Unreachable:
    """A store that does not answer until it is told to."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.away = True

    def __getattr__(self, name: str) -> Any:
        if self.away and name in {"read", "locate", "seal"}:
            raise StoreUnavailable("artifact://registry", "read", "connection refused")
        return getattr(self._store, name)


def test_a_store_that_is_away_stops_the_batch_and_the_same_batch_goes_on_later(own: Fabric) -> None:
    store = Unreachable(own.store)
    own.source._store = store  # type: ignore[assignment]
    own.activate()
    own.posture()
    own.pay("e1")
    own.snapshot("e1")
    records, own.driver._waiting = own.driver._waiting, []
    with pytest.raises(BundleStoreAway, match="connection refused"):
        own.driver.step_records(records)
    assert own.decisions() == []
    store.away = False
    own.driver.step_records(records)
    assert [one["mode"] for one in own.decisions()] == ["MODEL"]


def test_a_machine_that_cannot_run_models_stops(own: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: Any) -> Any:
        raise ModelRuntimeUnavailable("apt-get install libgomp1")

    monkeypatch.setattr("services.decision_fabric.bundle_source.load_bundle", cannot)
    with pytest.raises(BundleUnloadable, match="libgomp1"):
        own.source.resolve(named(own))


def test_two_processes_that_resolve_at_once_hold_the_same(
    own: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One finds the model missing and is first to seal that; the other, which found it, goes along."""
    model = model_of(own)
    slow = BundleSource(own.store, small.BINDING)

    def meanwhile(store: ArtifactStore, locator: Locator, served: FeatureBinding | None) -> Any:
        found = load_bundle(store, locator, served)
        monkeypatch.undo()
        remove(own.store, model)
        assert isinstance(own.source.resolve(named(own)), BundleProblem)
        return found

    monkeypatch.setattr("services.decision_fabric.bundle_source.load_bundle", meanwhile)
    found = slow.resolve(named(own))
    assert isinstance(found, BundleProblem)
    assert found.reason == "MODEL_MISSING"


def test_problems_are_told_once(own: Fabric) -> None:
    told: list[str] = []
    remove(own.store, model_of(own))
    source = BundleSource(own.store, small.BINDING, on_problem=lambda _, problem: told.append(problem.reason))
    for _ in range(3):
        source.resolve(named(own))
    assert told == ["MODEL_MISSING"]
