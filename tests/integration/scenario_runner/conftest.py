"""A sealed world for all tests of the scenario runner; a tenant and an instance for each."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from sluice_kit.config import Wiring
from sluice_oracle import World
from tests.integration.builders import make_world
from tests.integration.scenario_runner.instances import Client, instance, settings_of


@pytest.fixture(scope="session")
def world(wiring: Wiring, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(wiring, tmp_path_factory.mktemp("engine") / "world", seed=11)


@pytest.fixture
def tenant() -> str:
    """A tenant of its own for each test: runs of two tests never meet."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def runner(wiring: Wiring, tenant: str) -> AsyncIterator[Client]:
    async with instance(settings_of(wiring), tenant) as client:
        yield client
