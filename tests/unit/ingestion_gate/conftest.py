"""A gate without a broker."""

from collections.abc import Callable

import pytest

from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_kit.stage import ChainSpec
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, Fields


@pytest.fixture
def gate() -> TopologyDriver:
    return TopologyDriver(ChainSpec([GateStage(GateState(MemoryKeys()))]), now=NOW)


@pytest.fixture
def receipts(gate: TopologyDriver) -> Callable[[], list[Fields]]:
    return lambda: [event["payload"] for event in gate.events("audit.receipt")]  # type: ignore[misc]
