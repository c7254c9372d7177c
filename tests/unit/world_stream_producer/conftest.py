"""A small sealed world, shared by the tests of this folder (they only read it)."""

from pathlib import Path

import pytest

from services.world_stream_producer.core import StreamPlan, plan_stream
from services.world_stream_producer.testing import ReadyWorld, ready_world, seal_payments
from sluice_contracts import TOPICS
from sluice_kit.artifacts import ArtifactStore, open_store

ROWS = 3_000


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return open_store(tmp_path_factory.mktemp("oracle"), "oracle")


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return open_store(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="session")
def ready(
    oracle: ArtifactStore, artifacts: ArtifactStore, tmp_path_factory: pytest.TempPathFactory
) -> ReadyWorld:
    folder: Path = tmp_path_factory.mktemp("draft")
    return ready_world(seal_payments(folder, oracle, ROWS), artifacts, run_id="run-1")


@pytest.fixture
def plan(ready: ReadyWorld) -> StreamPlan:
    planned = plan_stream(ready.ready, ready.view, TOPICS["ingress.world_stream_producer"].event_types)
    assert isinstance(planned, StreamPlan)
    return planned
