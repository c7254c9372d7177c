"""`sluice demo` as a process, the way a stranger runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_demo(*options: str, seconds: float = 570) -> subprocess.CompletedProcess[str]:
    sluice = "from sluice_cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", sluice, "demo", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def last_line(finished: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert finished.returncode == code, finished.stdout[-3000:] + finished.stderr[-3000:]
    content = json.loads(finished.stdout.splitlines()[-1])
    assert isinstance(content, dict)
    return content
