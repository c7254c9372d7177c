"""Random passwords, one private file each; made once per home."""

import os
import secrets
from pathlib import Path


def ensure_secret(folder: Path, name: str) -> str:
    """The secret called `name`, made (24 random bytes, URL-safe) when there is none. Mode 0600."""
    path = folder / name
    if path.exists() and (value := path.read_text(encoding="utf-8").strip()):
        return value
    value = secrets.token_urlsafe(24)
    write_private(path, value)
    return value


def write_private(path: Path, content: str) -> None:
    """Replace `path` in one step by a file that its owner alone can read."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
