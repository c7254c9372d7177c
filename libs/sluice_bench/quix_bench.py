"""The features stage against a Quix Streams job."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sluice_bench.bench_stack import BenchStack
from sluice_bench.copy_loop import PRINCIPAL
from sluice_bench.foreign_job import ForeignJob, JobPlace, against, payment_schema
from sluice_kit.kafka import client_config

TARGET: Final = 2.0
VERSION: Final = "3.28.1"
COMMIT_SECONDS: Final = 5.0
"""The library's default."""
_INSTALL_SECONDS: Final = 300.0


class NoQuix(Exception):
    """There is no environment with the library, and none could be made."""


def quix(
    stack: BenchStack, records: int, repetitions: int, python: Path | None, commit: float
) -> dict[str, Any]:
    """Payments a second of job and stage in turn; `python` is an interpreter that has `quixstreams`.

    Where none is given one is made under the stack's folder. `commit`: seconds between the job's commits.
    """
    try:
        interpreter = python or _environment(stack.home / "quix")
        version = _version(interpreter)
    except NoQuix as error:
        return {"skipped": str(error), "passed": None}

    def given(place: JobPlace) -> bytes:
        content = {
            "connection": client_config(stack.wiring, PRINCIPAL),
            "input": place.input,
            "output": place.output,
            "group": place.name,
            "schema": payment_schema(),
            "state_dir": str(place.folder),
            "commit_seconds": commit,
        }
        return json.dumps(content).encode()

    job = ForeignJob(stack, (str(interpreter), str(files("sluice_bench") / "quix_job.py")), given)
    return against(stack, job, records, repetitions, TARGET) | {
        "quixstreams": version,
        "job": "state API with packed bytes, one input partition and so no repartition topic",
        "commit_seconds": commit,
    }


def _environment(folder: Path) -> Path:
    """An environment with the library. Raises NoQuix naming what went wrong."""
    python = folder / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            f"quixstreams=={VERSION}",
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr).strip()[-300:]
            raise NoQuix(f"no environment with quixstreams {VERSION}: {said}")
    return python


def _version(python: Path) -> str:
    ask = "import importlib.metadata as m, quixstreams; print(m.version('quixstreams'))"
    try:
        done = subprocess.run(
            [str(python), "-c", ask], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError as error:
        raise NoQuix(f"{python} cannot be run: {error}") from error
    if done.returncode:
        raise NoQuix(f"{python} has no quixstreams: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()
