"""A service as a process of its own, as a test or a benchmark sees it: started, asked, killed, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import httpx

from sluice_kit.config import load_wiring
from sluice_kit.testing.waiting import until

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_END_SECONDS: Final = 60
_LAST_CHARACTERS: Final = 4_000


class ServiceProcess:
    """`python -m <module> --wiring FILE` on a free port; it writes to `log`.

    `client` asks it as the operator of the wiring. `patch` is Python that runs in the process before the
    service does. Raises AssertionError with the end of its log when it does not listen.
    """

    def __init__(
        self,
        module: str,
        wiring_file: Path,
        log: Path,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] = _NOTHING,
        patch: str = "",
    ) -> None:
        self.log = log
        start = f"{patch}\nimport runpy; runpy.run_module({module!r}, run_name='__main__')"
        program = ["-c", start] if patch else ["-m", module]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--wiring", str(wiring_file), "--http-port", "0", *arguments],
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            )
        self.url = f"http://127.0.0.1:{until(self._bound_port, f'{module} to listen')}"
        token = load_wiring(wiring_file).secret_source.get("token_operator")
        self.client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=10
        )

    def _bound_port(self) -> int | None:
        text = self.log.read_text(encoding="utf-8")
        assert self.process.poll() is None, text[-_LAST_CHARACTERS:]
        lines = (line for line in text.splitlines() if line.startswith("{") and '"listening"' in line)
        return next((json.loads(line)["port"] for line in lines), None)

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Wait until `/health/ready` says so."""
        until(lambda: self.client.get("/health/ready").status_code == 200, "the service to be ready", seconds)

    def wait_until_degraded(self, check: str) -> None:
        """Wait until /health calls a check degraded."""

        def degraded() -> bool:
            checks = self.client.get("/health").json()["checks"]
            return any(found["name"] == check and found["state"] == "degraded" for found in checks)

        until(degraded, f"{check} to be degraded")

    def kill(self) -> None:
        """Kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.client.close()

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        code = self.process.wait(_END_SECONDS)
        self.client.close()
        return code

    def close(self) -> None:
        """End it whatever state it is in."""
        if self.process.poll() is None:
            self.kill()
