"""A webhook's target in a process of its own, for benches whose actions include calls."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sluice_substrate.secret_files import write_private
from sluice_substrate.wiring_file import wire_webhook

SECRET: Final = "bench"
EFFECTOR: Final = "webhook"
_READY_SECONDS: Final = 30.0


@contextmanager
def webhook_target(folder: Path) -> Iterator[int]:
    """A target that serves every call well; its port, its `effects.ndjson` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "port").unlink(missing_ok=True)
    command = [sys.executable, "-m", "services.action_layer.testing_target", "--folder", str(folder)]
    process = subprocess.Popen([*command, "--secret", SECRET])
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not (folder / "port").is_file():
            if time.monotonic() > deadline:
                raise RuntimeError("the webhook target does not listen")
            time.sleep(0.05)
        yield int((folder / "port").read_text(encoding="utf-8"))
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def wired_target(home: Path) -> Iterator[None]:
    """A target that the stack's action layer calls."""
    with webhook_target(home / "bench-target") as port:
        write_private(home / "secrets" / "webhook_signing", SECRET)
        url = f"http://127.0.0.1:{port}/actions"
        wire_webhook(home / "wiring.yaml", EFFECTOR, url, honours_key=True)
        yield
