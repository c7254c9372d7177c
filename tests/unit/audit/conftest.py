from pathlib import Path

import pytest

from sluice_audit import AuditLog, KnownKeys, SigningKey, new_signing_key
from sluice_kit.artifacts import ArtifactStore, open_store
from sluice_kit.config import SecretSource

ORIGIN = "sluice.decision_log/test"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "artifacts")


@pytest.fixture(scope="session")
def key() -> SigningKey:
    secrets = SecretSource(None, {"SLUICE_SECRET_AUDIT_SIGNING_KEY": new_signing_key()})
    return SigningKey.from_secret(secrets)


@pytest.fixture
def keys(key: SigningKey) -> KnownKeys:
    return KnownKeys([key.public_pem])


@pytest.fixture
def log(store: ArtifactStore, key: SigningKey, tmp_path: Path) -> AuditLog:
    return AuditLog.open(store, tmp_path / "nodes", key, ORIGIN)
