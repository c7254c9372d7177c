"""Jars from the lock file: fetched once by jgo's Maven client, verified, kept in the user's cache."""

import hashlib
import shutil
import tarfile
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import requests
from jgo.config import GlobalSettings
from jgo.maven import MavenContext, PythonResolver

from sluice_substrate.errors import DownloadFailed
from sluice_substrate.folders import download_cache

_PARALLEL = 6
_ATTEMPTS = 3

Received = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all) while something is downloaded."""


@dataclass(frozen=True, slots=True)
class LockedArtifact:
    """One file of the lock file; the sha256 is of the file as published."""

    part: str
    group: str
    name: str
    version: str
    packaging: str
    classifier: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        """Name in the cache, as Maven would call it."""
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{tail}.{self.packaging}"


_FILTERED: Final[dict[str, Any]] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Python 3.11 knows filters from 3.11.4 on, Debian 12 has 3.11.2. The archive's digest is pinned anyway."""


def locked(part: str) -> list[LockedArtifact]:
    """What the committed lock file says `part` (kafka, registry) consists of."""
    text = resources.files("sluice_substrate").joinpath("jars.lock.toml").read_text(encoding="utf-8")
    return [LockedArtifact(**entry) for entry in tomllib.loads(text)["artifact"] if entry["part"] == part]


def fetch(part: str, received: Received | None = None) -> list[Path]:
    """Local paths of all files of `part`, downloading what the cache lacks.

    A file is in the cache only after its digest was verified. Raises DownloadFailed.
    """
    artifacts = locked(part)
    folder = download_cache() / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [artifact for artifact in artifacts if not (folder / artifact.filename).exists()]
    if missing:
        # staged in the cache's own file system: the last step is a rename, so a kill leaves no half file
        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as staging:
            meter = _Meter(sum(artifact.size for artifact in missing), received)
            with ThreadPoolExecutor(_PARALLEL) as pool:
                list(pool.map(lambda artifact: _fetch_one(artifact, folder, Path(staging), meter), missing))
    return [folder / artifact.filename for artifact in artifacts]


def unpacked(archive: Path) -> Path:
    """Folder with the contents of a downloaded tar.gz, unpacked beside it once."""
    target = archive.parent.parent / archive.name.removesuffix(".tar.gz")
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as staging:
            with tarfile.open(archive) as stream:
                stream.extractall(staging, **_FILTERED)  # noqa: S202 - filtered where Python can
            try:
                Path(staging).rename(target)
            except OSError:
                if not target.exists():  # else another process was faster
                    raise
            else:
                Path(staging).mkdir()  # for the context manager to remove
    return target


class _Meter:
    def __init__(self, total: int, received: Received | None) -> None:
        self._total, self._received, self._done = total, received, 0
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, filename: str, size: int) -> Iterator[Callable[[int], None]]:
        del filename, size
        yield self.add

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._received is not None:
                self._received(min(self._done, self._total), self._total)


def _fetch_one(artifact: LockedArtifact, folder: Path, staging: Path, meter: _Meter) -> None:
    problem = ""
    for attempt in range(_ATTEMPTS):
        own = staging / f"{artifact.filename}.{attempt}"
        # jgo knows the public repository; a mirror comes from the user's own jgo settings file
        context = MavenContext(
            resolver=PythonResolver(progress_callback=meter),
            repo_cache=own,
            remote_repos=GlobalSettings.load().repositories or None,
            timeout=60,
        )
        component = context.project(artifact.group, artifact.name).at_version(artifact.version)
        try:
            file = component.artifact(classifier=artifact.classifier, packaging=artifact.packaging).resolve()
        except (requests.RequestException, RuntimeError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
            continue
        digest = _sha256(file)
        if digest == artifact.sha256:
            shutil.move(file, folder / artifact.filename)
            return
        problem = f"sha256 is {digest}, the lock file says {artifact.sha256}"
    raise DownloadFailed(
        f"cannot download {artifact.group}:{artifact.name}:{artifact.version} ({_ATTEMPTS} tries): {problem}."
        " The first start needs the internet, or a mirror of the public Maven repository named in jgo's "
        f"settings file (see docs/local-substrate.md). Later starts use {folder}."
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
