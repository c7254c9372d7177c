from datetime import UTC, datetime

import pytest

from sluice_decisions import seal_bundle
from sluice_kit.artifacts import ArtifactStore, open_store
from tests.unit.loop.history import bundle_parts


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """A store with two bundles, trained and sealed once; tests only add to it."""
    kept = open_store(tmp_path_factory.mktemp("loop"))
    for revision in ("b1", "b2"):
        seal_bundle(kept, bundle_parts(revision), datetime(2026, 1, 1, tzinfo=UTC))
    return kept
