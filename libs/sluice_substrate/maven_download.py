"""One file of the lock from a Maven repository, with jgo's client."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import requests
from jgo.config import GlobalSettings
from jgo.maven import MavenContext, PythonResolver

from sluice_substrate.downloads import LockedArtifact, Received
from sluice_substrate.errors import DownloadFailed

_ATTEMPTS: Final = 3


class Meter:
    """Bytes of several files together."""

    def __init__(self, total: int, received: Received | None) -> None:
        self._total, self._received, self._done = total, received, 0
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, filename: str, size: int) -> Iterator[Callable[[int], None]]:
        """A counter of one file, as jgo asks for it."""
        del filename, size
        yield self.add

    def add(self, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            self._done += count
            if self._received is not None:
                self._received(min(self._done, self._total), self._total)


def fetch_one(artifact: LockedArtifact, folder: Path, staging: Path, meter: Meter) -> None:
    """Download one file by way of `staging` and verify it. Raises DownloadFailed."""
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
