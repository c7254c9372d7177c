"""The revision of the code that steps: a digest of its source files, the same in a checkout and an image."""

import hashlib
import importlib.util
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path


def code_revision(names: Iterable[str], revisions: Sequence[str] = ()) -> str:
    """sha256 (first 16 hex digits) over name and bytes of modules, and of every file of packages.

    `revisions` are texts that go into it in their order: fingerprints of policy data.
    Raises ModuleNotFoundError for a name that is not there.
    """
    digest = hashlib.sha256()
    for name in sorted(set(names)):
        digest.update(_source_digest(name))
    for text in revisions:
        digest.update(f"revision\0{text}\0".encode())
    return digest.hexdigest()[:16]


@cache
def _source_digest(name: str) -> bytes:
    """Of one module or package. Read once: what a process has imported does not change either."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} has no source to take a revision of")
    origin = Path(spec.origin)
    files = [origin] if spec.submodule_search_locations is None else sorted(origin.parent.rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{name}/{path.relative_to(origin.parent).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.digest()
