"""A real stage as the benches run it: a process with its own arguments, killed or drained at will."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import httpx

from sluice_kit.config import load_wiring
from sluice_kit.http.endpoint import endpoint_file, read_endpoint
from sluice_substrate.priority import Priority
from sluice_substrate.processes import ProcessRecord, clean_environment, failure, log_size, spawn, stop

SERVICE: Final = "ingestion_gate"
PROBE: Final = "sluice_bench.gate_probe"
_READY_SECONDS: Final = 240.0
_DRAIN_SECONDS: Final = 60.0
Running = TypeVar("Running", bound="StageProcess")


class StageProcess:
    """One process of a stage, or of a chain that it leads, on a stack whose substrate runs."""

    def __init__(
        self,
        home: Path,
        service: str,
        *arguments: str,
        module: str | None = None,
        priority: Priority = Priority.ORDINARY,
    ) -> None:
        """Start it; `module` may be a probe, which runs the same stage and writes down what it sees."""
        self.service = service
        self._wiring_file = home / "wiring.yaml"
        self._state_dir = load_wiring(self._wiring_file).state_dir
        self._log = home / "logs" / f"bench-{service}.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = log_size(self._log)
        endpoint_file(self._state_dir, service).unlink(missing_ok=True)
        mark = str(self._wiring_file)
        self.started_at = time.monotonic()
        self._record: ProcessRecord = spawn(
            [
                sys.executable,
                "-m",
                module or f"services.{service}",
                "--wiring",
                mark,
                "--http-port",
                "0",
                *arguments,
            ],
            mark=mark,
            log=self._log,
            environment=clean_environment(),
            priority=priority,
        )

    def wait_ready(self, seconds: float = _READY_SECONDS) -> float:
        """Seconds from its start to the first good answer of /health/ready. Raises StartFailed."""
        while True:
            if self._record.process() is None:
                raise failure(f"{self.service} ended while starting", self._log, self._log_start)
            try:
                url = self.url()
                if httpx.get(f"{url}/health/ready", timeout=5).status_code == httpx.codes.OK:
                    return time.monotonic() - self.started_at
            except (LookupError, ValueError, httpx.HTTPError):
                pass
            if time.monotonic() - self.started_at > seconds:
                raise failure(f"{self.service} was not ready in {seconds:.0f} s", self._log, self._log_start)
            time.sleep(0.02)

    def url(self) -> str:
        """Where it serves. Raises LookupError or ValueError while it does not."""
        return read_endpoint(self._state_dir, self.service)

    def rss_bytes(self) -> int:
        """Resident memory now, 0 when it has ended."""
        process = self._record.process()
        return 0 if process is None else int(process.memory_info().rss)

    def cpu_seconds(self) -> float:
        """User and system time that the process has used, 0 when it has ended."""
        process = self._record.process()
        return 0.0 if process is None else sum(process.cpu_times()[:2])

    def cpu_seconds_when_ready(self) -> float:
        """What starting up took."""
        self.wait_ready()
        return self.cpu_seconds()

    def kill(self) -> None:
        """SIGKILL."""
        stop(self._record, [(signal.SIGKILL, 10.0)])

    def drain(self) -> None:
        """SIGTERM and wait; it seals a checkpoint at its last batch. Raises StartFailed when it hangs."""
        if not stop(self._record, [(signal.SIGTERM, _DRAIN_SECONDS)]):
            self.kill()
            raise failure(f"{self.service} did not drain", self._log, self._log_start)


class GateProcess(StageProcess):
    """The gate, alone or with a chain behind it."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        module: str | None = None,
        priority: Priority = Priority.ORDINARY,
    ) -> None:
        super().__init__(home, SERVICE, *arguments, module=module, priority=priority)


@contextmanager
def running_stage(home: Path, service: str, *arguments: str) -> Iterator[StageProcess]:
    """A stage that is drained at the end of the block, killed when the block fails."""
    with _ended(StageProcess(home, service, *arguments)) as stage:
        yield stage


@contextmanager
def running_gate(home: Path, *arguments: str, module: str | None = None) -> Iterator[GateProcess]:
    """A gate that is drained at the end of the block, killed when the block fails."""
    with _ended(GateProcess(home, *arguments, module=module)) as gate:
        yield gate


@contextmanager
def _ended(stage: Running) -> Iterator[Running]:
    try:
        yield stage
    except BaseException:
        stage.kill()
        raise
    stage.drain()
