"""Writing the files of a snapshot: named by content, complete or not there, never through a sealed link."""

import hashlib
import os
from pathlib import Path

from sluice_kit.stage.giving_way import rest


def write_snapshot_file(folder: Path, prefix: str, content: bytes, suffix: str) -> Path:
    """Write `<prefix>-<first 16 hex of sha256><suffix>` and return its path.

    Sealing hard-links a file into the store, so one that exists is replaced, not written into. The same
    content gives the same name: sealing twice at one batch is harmless. Raises OSError.
    """
    rest()
    path = folder / f"{prefix}-{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    rest()
    return path
