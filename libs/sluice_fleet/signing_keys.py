"""The key that signs the decision log of a local deployment: made once a home."""

from pathlib import Path

from sluice_audit import new_signing_key
from sluice_audit.keys import DEFAULT_KEY_NAME
from sluice_substrate.secret_files import write_private


def ensure_signing_key(folder: Path) -> None:
    """Make the secret `audit_signing_key`, unless there is one: another key would not be believed."""
    path = folder / DEFAULT_KEY_NAME
    if not path.is_file():
        write_private(path, new_signing_key())
