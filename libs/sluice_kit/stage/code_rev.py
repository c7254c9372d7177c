"""The revision of the code that steps: a digest of its source files, the same in a checkout and an image."""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path


def code_revision(packages: Sequence[str]) -> str:
    """sha256 (first 16 hex digits) over name and bytes of every Python file of `packages`.

    Raises ModuleNotFoundError for a package that is not there.
    """
    digest = hashlib.sha256()
    for package in sorted(packages):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"package {package} has no source to take a revision of")
        folder = Path(spec.origin).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
