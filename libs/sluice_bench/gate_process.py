"""The real gate as the benches run it: a process with its own arguments, killed or drained at will."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from sluice_kit.config import load_wiring
from sluice_kit.http.endpoint import endpoint_file, read_endpoint
from sluice_substrate.processes import ProcessRecord, clean_environment, failure, log_size, spawn, stop

SERVICE: Final = "ingestion_gate"
PROBE: Final = "sluice_bench.gate_probe"
_READY_SECONDS: Final = 240.0
_DRAIN_SECONDS: Final = 60.0


class GateProcess:
    """One gate process of a stack whose substrate runs."""

    def __init__(self, home: Path, *arguments: str, module: str = f"services.{SERVICE}") -> None:
        """Start it; `module` may be the probe, which runs the same gate and writes down what it sees."""
        self._wiring_file = home / "wiring.yaml"
        self._state_dir = load_wiring(self._wiring_file).state_dir
        self._log = home / "logs" / "bench-gate.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = log_size(self._log)
        endpoint_file(self._state_dir, SERVICE).unlink(missing_ok=True)
        mark = str(self._wiring_file)
        self.started_at = time.monotonic()
        self._record: ProcessRecord = spawn(
            [sys.executable, "-m", module, "--wiring", mark, "--http-port", "0", *arguments],
            mark=mark,
            log=self._log,
            environment=clean_environment(),
        )

    def wait_ready(self, seconds: float = _READY_SECONDS) -> float:
        """Seconds from its start to the first good answer of /health/ready. Raises StartFailed."""
        while True:
            if self._record.process() is None:
                raise failure("the gate ended while starting", self._log, self._log_start)
            try:
                url = read_endpoint(self._state_dir, SERVICE)
                if httpx.get(f"{url}/health/ready", timeout=5).status_code == httpx.codes.OK:
                    return time.monotonic() - self.started_at
            except (LookupError, ValueError, httpx.HTTPError):
                pass
            if time.monotonic() - self.started_at > seconds:
                raise failure(f"the gate was not ready in {seconds:.0f} s", self._log, self._log_start)
            time.sleep(0.02)

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
            raise failure("the gate did not drain", self._log, self._log_start)


@contextmanager
def running_gate(home: Path, *arguments: str, module: str = f"services.{SERVICE}") -> Iterator[GateProcess]:
    """A gate that is drained at the end of the block, killed when the block fails."""
    gate = GateProcess(home, *arguments, module=module)
    try:
        yield gate
    except BaseException:
        gate.kill()
        raise
    gate.drain()
