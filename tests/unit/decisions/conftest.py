from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluice_decisions import Bundle, load_bundle, seal_bundle
from sluice_kit.artifacts import ArtifactStore, Locator, open_store
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


@pytest.fixture(scope="session")
def bundle(kept: ArtifactStore, sealed: Locator) -> Bundle:
    loaded = load_bundle(kept, sealed)
    assert isinstance(loaded, Bundle), loaded
    return loaded


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "artifacts")
