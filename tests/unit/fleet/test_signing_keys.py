"""A home's signing key: made once, kept, readable by its owner alone."""

from pathlib import Path

from sluice_audit import SigningKey
from sluice_fleet.signing_keys import ensure_signing_key
from sluice_kit.config import SecretSource


def test_the_key_is_made_once_and_kept(tmp_path: Path) -> None:
    ensure_signing_key(tmp_path)
    first = SigningKey.from_secret(SecretSource(tmp_path, {}))
    ensure_signing_key(tmp_path)
    assert SigningKey.from_secret(SecretSource(tmp_path, {})).key_id == first.key_id
    assert (tmp_path / "audit_signing_key").stat().st_mode & 0o777 == 0o600
