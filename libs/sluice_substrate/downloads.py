"""Jars from the lock file: fetched once by jgo's Maven client, verified, kept in the user's cache."""

import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from sluice_substrate.folders import download_cache
from sluice_substrate.local_extra import local_package

_PARALLEL = 6

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

    A file is in the cache only after its digest was verified. Raises DownloadFailed, StartFailed.
    """
    artifacts = locked(part)
    folder = download_cache() / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [artifact for artifact in artifacts if not (folder / artifact.filename).exists()]
    if missing:
        maven = local_package("sluice_substrate.maven_download")
        # staged in the cache's own file system: the last step is a rename, so a kill leaves no half file
        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as staging:
            meter = maven.Meter(sum(artifact.size for artifact in missing), received)
            with ThreadPoolExecutor(_PARALLEL) as pool:
                list(pool.map(lambda one: maven.fetch_one(one, folder, Path(staging), meter), missing))
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
