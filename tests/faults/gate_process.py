"""A stage's process that a test owns: its exit code, its log, its code."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import httpx
import psutil
import yaml

from sluice_kit.config import load_wiring
from sluice_kit.http.calling import call
from sluice_kit.http.endpoint import read_endpoint
from sluice_kit.testing.waiting import until

ROOT = Path(__file__).parents[2]


class StageProcess:
    """`python -m services.<service>`; `code` is a folder whose `services` package is run instead of ours."""

    living: ClassVar[list["StageProcess"]] = []

    def __init__(
        self,
        wiring_file: Path,
        log: Path,
        *arguments: str,
        service: str = "ingestion_gate",
        code: Path = ROOT,
    ) -> None:
        self.service = service
        self.log_file = log
        self._wiring_file = wiring_file
        self._log_start = log.stat().st_size if log.exists() else 0
        command = [sys.executable, "-m", f"services.{service}", "--wiring", str(wiring_file)]
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [*command, "--http-port", "0", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=code,
                # No bytecode: what is killed, or may write no more, would leave half a file in the checkout.
                env=os.environ
                | {"PYTHONPATH": str(code), "PYTHONFAULTHANDLER": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        self.living.append(self)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def cpu_seconds(self) -> float:
        """CPU time that it has had. A start takes that whatever else the machine does."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def poll(self) -> int | None:
        """Exit code, None while it runs."""
        return self._child.poll()

    def logged(self) -> list[dict[str, Any]]:
        """Log lines of this process that are JSON."""
        with self.log_file.open("rb") as stream:
            stream.seek(self._log_start)
            lines = stream.read().splitlines()
        return list(_json_lines(lines))

    def text(self) -> str:
        """The whole log of this process."""
        with self.log_file.open("rb") as stream:
            stream.seek(self._log_start)
            return stream.read().decode(errors="replace")

    def restored(self) -> dict[str, Any]:
        """What its start replayed, once it serves. Raises AssertionError when it ended instead."""

        def look() -> dict[str, Any] | None:
            found = [line for line in self.logged() if line.get("event") == "stage.restored"]
            if found:
                return found[0]
            assert self.poll() is None, f"{self.service} ended with {self.poll()}:\n{self.text()[-3000:]}"
            return None

        return until(look, f"{self.service} to have restored")

    def started(self) -> "StageProcess":
        """Waits until it serves."""
        self.restored()
        return self

    def url(self) -> str:
        """Where it listens."""
        return read_endpoint(load_wiring(self._wiring_file).state_dir, self.service)

    def health(self) -> dict[str, Any]:
        """Its own report; empty while it does not answer."""
        try:
            answer: dict[str, Any] = call("GET", f"{self.url()}/health", timeout=5).json()
        except (LookupError, httpx.HTTPError, ValueError):
            return {}
        return answer

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        self._child.send_signal(number)

    def ended(self, seconds: float = 90) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return until(self._exit_code, f"{self.service} to end", seconds)[0]
        except AssertionError as error:
            self.send(signal.SIGABRT)  # faulthandler writes where each thread stands
            self._child.wait(10)
            raise AssertionError(f"{error}; its log ends:\n{self.text()[-6000:]}") from error

    def _exit_code(self) -> tuple[int] | None:
        code = self._child.poll()
        return None if code is None else (code,)

    def drain(self) -> int:
        """SIGTERM; its exit code."""
        self.send(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """SIGKILL."""
        if self._child.poll() is None:
            self.send(signal.SIGKILL)
        self._child.wait(30)

    @classmethod
    def kill_all(cls) -> None:
        """End what a test that failed has left behind."""
        while cls.living:
            cls.living.pop().kill()


def altered_code(folder: Path, changes: Mapping[str, tuple[str, str]]) -> Path:
    """A copy of the services with `old` replaced by `new` in the named files; returns its root."""
    root = folder / "code"
    shutil.copytree(ROOT / "services", root / "services", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in changes.items():
        path = root / "services" / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} no longer holds {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return root


def another_machine(wiring_file: Path, folder: Path) -> Path:
    """The same wiring with a state folder of its own, as a second machine would have."""
    content = yaml.safe_load(wiring_file.read_text(encoding="utf-8"))
    content["state_dir"] = str(folder / "state")
    copy = folder / "wiring.yaml"
    copy.write_text(yaml.safe_dump(content), encoding="utf-8")
    return copy


def _json_lines(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            yield content
