"""The fabric as a process: health says which active bundle cannot be used, until every one can."""

from __future__ import annotations

from pathlib import Path

from services.decision_fabric.model import BUNDLES, PAYMENTS
from services.decision_fabric.policy_files import binding_of, read_feature_set
from services.decision_fabric.process import make_member
from services.decision_fabric.stage import DecisionFabricStage
from sluice_bench.decision_bench import seal_drawn_bundle
from sluice_contracts import encode
from sluice_kit.artifacts import ArtifactStore, Digest, Locator
from sluice_kit.config import Wiring
from sluice_kit.config.wiring import ArtifactWiring, KafkaWiring, OracleWiring
from sluice_kit.stage import StageSettings
from sluice_kit.stage.process import StageArguments
from sluice_kit.telemetry import Health
from sluice_kit.testing import TopologyDriver
from tests.unit.decision_fabric.parts import NOW, activation, chain_of
from tests.unit.ingestion_gate.events import payment

NOWHERE = Locator(
    uri="artifact://registry/bundles/payments/b9/gone.json",
    digest=Digest(hash="1" * 64),
    bytes=1,
    schema_version=1,
)


class Process:
    """What `make_member` wired, stepped as a runner does."""

    def __init__(self, store: ArtifactStore, folder: Path) -> None:
        wiring = Wiring(
            kafka=KafkaWiring(bootstrap_servers="none:1"),
            artifacts=ArtifactWiring(root=str(folder)),
            oracle=OracleWiring(root=str(folder)),
            state_dir=folder,
        )
        self._store = store
        self._health = Health("decision_fabric")
        self._member = make_member(StageArguments(wiring, 0, 0, StageSettings()), store, self._health)
        assert isinstance(self._member.stage, DecisionFabricStage)
        self._driver = TopologyDriver(chain_of(self._member.stage), now=NOW)
        self._activated = 0

    def decide(self, locator: Locator, scope: str, tenant: str) -> None:
        """Activate a bundle and decide a payment of a tenant's, at its deadline."""
        self._activated += 1
        name = f"a{self._activated}"
        self._driver.pipe(BUNDLES, activation(self._store, locator, scope, name))
        self._driver.pipe(PAYMENTS, encode("payment", 1, payment(name, tenant=tenant)))
        for seconds in (0, 1):
            runs = self._driver.advance(seconds)
            for hook in self._member.after_commit:
                hook(runs)

    def bundles(self) -> tuple[str, str]:
        (check,) = [one for one in self._health.report().checks if one.name == "bundles"]
        return check.state.value, check.detail


def test_health_names_a_bundle_that_cannot_be_used_until_every_active_one_can(
    own_store: ArtifactStore, tmp_path: Path
) -> None:
    usable = seal_drawn_bundle(own_store, binding_of(read_feature_set()), trees=2)
    process = Process(own_store, tmp_path)
    process.decide(NOWHERE, "tenant:acme", "acme")
    assert process.bundles()[0] == "degraded"
    assert "BUNDLE_MISSING" in process.bundles()[1]
    process.decide(usable, "all", "default")
    assert process.bundles()[0] == "degraded", "acme's is still in force"
    process.decide(usable, "tenant:acme", "acme")
    assert process.bundles() == ("ok", "")
