"""The loop with a bundle that does not serve, a closed posture, a receiver that is away: it says so."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluice_decisions import BundleParts
from sluice_decisions.bundle_manifest import BundleManifest
from sluice_kit.artifacts import Locator
from sluice_kit.http.calling import call
from sluice_kit.testing.waiting import until
from tests.faults.loop_ground import LARGE, LoopGround
from tests.faults.proving_ground import health_check
from tests.faults.reading import events
from tests.unit.loop.history import bundle_parts

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(600)]


def model_file(loop: LoopGround, manifest: Locator) -> Path:
    """Where the model of a bundle is on disk."""
    content = BundleManifest.parse(loop.store.read(manifest))
    assert isinstance(content, BundleManifest), content
    path = loop.store.local_path(loop.store.path_of(content.model.locator.uri))
    assert path is not None
    return path


def flipped(path: Path) -> None:
    """One bit of a byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("revision", "trees", "spoil", "said"),
    [
        ("altered", 6, flipped, ["BUNDLE_UNRESOLVED", "DIGEST_MISMATCH"]),
        ("deleted", 4, Path.unlink, ["BUNDLE_UNRESOLVED", "MODEL_MISSING"]),
    ],
)
def test_a_spoilt_bundle_is_named_in_every_decision(
    loop: LoopGround, revision: str, trees: int, spoil: Any, said: list[str]
) -> None:
    loop.until_posture("NORMAL")
    manifest = loop.bundle(revision, trees)
    activation = loop.prepared(manifest)
    spoil(model_file(loop, manifest))
    loop.put(activation)
    assert_fallbacks_until_a_sound_one(loop, revision, said)


def test_a_bundle_of_other_features_is_named_in_every_decision(loop: LoopGround) -> None:
    loop.until_posture("NORMAL")
    loop.activate(loop.sealed(with_another_feature(bundle_parts("other-features"))))
    assert_fallbacks_until_a_sound_one(loop, "other", ["BUNDLE_UNRESOLVED", "FEATURES_MISMATCH"])


def with_another_feature(parts: BundleParts) -> BundleParts:
    """The parts, made for a set in which one feature is another; no rule asks for it."""
    ours, theirs = "velocity", "novelty1"
    served = parts.feature_set
    features = tuple(theirs if name == ours else name for name in served.features)
    definition = {"revision": "payments-other", "hash": "0" * 64, "features": features}
    return replace(
        parts,
        feature_set=served.model_copy(update=definition),
        model_text=parts.model_text.replace(ours, theirs),
    )


def assert_fallbacks_until_a_sound_one(loop: LoopGround, stem: str, said: list[str]) -> None:
    """Every payment is a fallback that says so and names no bundle; with a sound one the model decides."""
    spoilt = loop.decided(loop.pay(40, stem))
    assert {(one["mode"], one["outcome"], *one["reason_codes"]) for one in spoilt} == {
        ("FALLBACK", "REVIEW", *said)
    }
    assert {one["bundle_hash"] for one in spoilt} == {None}

    loop.activate(loop.bundle("b1"))
    assert {one["mode"] for one in loop.decided(loop.pay(40, "sound"))} == {"MODEL"}
    loop.counted()


def test_a_closed_posture_declines_until_it_is_released(loop: LoopGround) -> None:
    loop.until_posture("NORMAL")
    loop.posture("force", "FAIL_CLOSED", "--reason", "drill")
    closed = loop.decided(loop.pay(40, "closed"))
    assert {(one["outcome"], one["mode"], one["posture"]) for one in closed} == {
        ("DECLINE", "FAIL_CLOSED", "FAIL_CLOSED")
    }
    loop.posture("release", "--reason", "drill over")
    loop.until_posture("NORMAL")
    assert {one["mode"] for one in loop.decided(loop.pay(40, "open"))} == {"MODEL"}
    loop.counted()


def test_calls_that_wait_or_are_in_doubt_come_to_an_end(loop: LoopGround) -> None:
    loop.until_posture("NORMAL")
    doubtful = loop.pay(10, "doubt", payment_id="crash-1", amount_minor=LARGE)
    until(lambda: doubts(loop, doubtful), "calls in doubt")
    loop.receiver.stop()
    waiting = loop.pay(10, "waiting", amount_minor=LARGE)
    until(lambda: target_is_down(loop), "health to name the receiver", 60)
    assert outcomes(loop, waiting) == []
    loop.receiver.start()
    served = loop.pay(10, "served", amount_minor=LARGE)

    found = loop.counted()
    assert {one["outcome"] for one in found.settled([*waiting, *served])} == {"EXECUTED"}
    of_one = [one["outcome"] for one in found.settled(doubtful[:1])]
    assert of_one == ["UNCERTAIN", "EXECUTED"]


def target_is_down(loop: LoopGround) -> bool:
    health = call("GET", f"{loop.fleet.url('action_layer')}/health", timeout=5).json()
    return health_check(lambda: health, "target:webhook").get("state") == "degraded"


def outcomes(loop: LoopGround, event_ids: Sequence[str]) -> list[str]:
    said = [one["payload"] for one in events(loop.wiring, "traffic.action_outcome")]
    return [one["outcome"] for one in said if one["subject_event_id"] in event_ids]


def doubts(loop: LoopGround, event_ids: Sequence[str]) -> bool:
    return outcomes(loop, event_ids).count("UNCERTAIN") >= len(event_ids)
