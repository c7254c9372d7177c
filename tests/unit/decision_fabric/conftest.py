from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sluice_decisions import seal_bundle
from sluice_kit.artifacts import ArtifactStore, Locator, open_store
from tests.unit.decision_fabric.parts import Fabric
from tests.unit.decisions import parts as small


@pytest.fixture(scope="session")
def text() -> str:
    """The text of a small model that was trained for these tests."""
    return small.model_text()


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """A store that tests only add to."""
    return open_store(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="session")
def sealed(kept: ArtifactStore, text: str) -> Locator:
    return seal_bundle(kept, small.parts(text), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def make(kept: ArtifactStore, sealed: Locator) -> Callable[..., Fabric]:
    """Fabrics over the shared bundle."""

    def made(**changes: Any) -> Fabric:
        return Fabric(kept, sealed, **changes)

    return made


@pytest.fixture
def fabric(make: Callable[..., Fabric]) -> Fabric:
    """One with a bundle and NORMAL in force."""
    return make().ready()


@pytest.fixture
def own_store(tmp_path: Path) -> ArtifactStore:
    """A store that a test may spoil."""
    return open_store(tmp_path / "artifacts")
