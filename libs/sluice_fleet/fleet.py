"""Service processes under one home: their logs, records, endpoints and health."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from sluice_fleet.topology import Member, Topology
from sluice_kit.config import load_wiring
from sluice_kit.http.calling import call
from sluice_kit.http.endpoint import endpoint_file, read_endpoint
from sluice_substrate.processes import ProcessRecord, clean_environment, failure, log_size, spawn, stop

READY_SECONDS = 90.0
DRAIN_SECONDS = 30.0
POLL_SECONDS = 0.05


class FleetError(RuntimeError):
    """A service did not start or died; the message quotes the end of its log."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service process now; `state` is `ready`, `starting`, `degraded` or `stopped`."""

    service: str
    pid: int | None
    url: str | None
    state: str
    detail: str
    rss_bytes: int | None
    log: Path


class Fleet:
    """The services of one home. Records survive this process, so another can stop them."""

    def __init__(self, home: Path, topology: Topology) -> None:
        self._home = home = home.expanduser().resolve()
        self._topology = topology
        self._wiring_file = home / "wiring.yaml"
        self._records_file = home / "fleet.json"
        self._beside_file = home / "beside.json"

    @property
    def topology(self) -> Topology:
        """What this fleet runs."""
        return self._topology

    def start(
        self, names: Iterable[str] | None = None, report: Callable[[str, str], None] | None = None
    ) -> None:
        """Start services that do not run, all at once, and wait until each is ready. Raises FleetError."""
        wanted = set(names) if names is not None else {member.service for member in self._topology.members}
        members = [member for member in self._topology.members if member.service in wanted]
        tell = report or (lambda _service, _state: None)
        with ThreadPoolExecutor(max(1, len(members))) as pool:
            launched = [(member, self._launch(member)) for member in members]
            waiting = [pool.submit(self._wait_ready, member, at, tell) for member, at in launched]
            for future in waiting:
                future.result()

    def stop(self, names: Iterable[str] | None = None) -> list[str]:
        """Drain services (SIGTERM), kill what does not end in time; returns the names of the killed.

        With all services, what stands beside them ends too.
        """
        records = self._records()
        chosen = [name for name in records if names is None or name in set(names)]
        killed: list[str] = []

        def end(name: str) -> None:
            if not stop(records[name], [(signal.SIGTERM, DRAIN_SECONDS)]):
                stop(records[name], [(signal.SIGKILL, 10.0)])
                killed.append(name)

        with ThreadPoolExecutor(max(1, len(chosen))) as pool:
            list(pool.map(end, chosen))
        for name in chosen:
            self._forget(name)
        if names is None:
            self._stop_beside()
        return killed

    def start_beside(self, name: str, arguments: Sequence[str]) -> Path:
        """Run `python ARGUMENTS --wiring FILE`, which is no service of ours but ends with them; its log file.

        It has no health and no address here: whoever starts it knows how to reach it.
        """
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        wiring = str(self._wiring_file)
        command = [sys.executable, *arguments, "--wiring", wiring]
        record = spawn(command, mark=wiring, log=log, environment=clean_environment())
        _save(self._beside_file, _records(self._beside_file) | {name: record})
        return log

    def kill(self, name: str) -> None:
        """SIGKILL a service and leave it dead (fault tests). Raises FleetError when it does not run."""
        record = self._records().get(name)
        if record is None or record.process() is None:
            raise FleetError(f"{name} is not running")
        stop(record, [(signal.SIGKILL, 10.0)])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP. Raises FleetError when the service does not run."""
        process = self.process_record(name).process()
        if process is None:
            raise FleetError(f"{name} is not running")
        process.send_signal(number)

    def process_record(self, name: str) -> ProcessRecord:
        """Identity of a service's process. Raises FleetError for one that was never started."""
        record = self._records().get(name)
        if record is None:
            raise FleetError(f"{name} was not started under {self._home}")
        return record

    def url(self, name: str) -> str:
        """Base URL of a service. Raises LookupError."""
        return read_endpoint(load_wiring(self._wiring_file).state_dir, name)

    def log(self, name: str) -> Path:
        """A service's log file."""
        return self._home / "logs" / f"{name}.log"

    def status(self) -> list[ServiceStatus]:
        """Every service that was started under this home."""
        return [self._status(name, record) for name, record in self._records().items()]

    def running(self) -> list[str]:
        """Names of the services whose process lives."""
        return [name for name, record in self._records().items() if record.process() is not None]

    # -- one service

    def _launch(self, member: Member) -> int | None:
        """Start a process; returns where its log begins, None when it runs already."""
        name = member.service
        known = self._records().get(name)
        if known is not None and known.process() is not None:
            return None
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        begin = log_size(log)
        wiring = load_wiring(self._wiring_file)
        for served in (name, *member.chained):
            endpoint_file(wiring.state_dir, served).unlink(missing_ok=True)
        wiring_argument = str(self._wiring_file)
        command = [sys.executable, "-m", f"services.{name}", "--wiring", wiring_argument, "--http-port", "0"]
        record = spawn(
            [*command, *member.command()],
            mark=wiring_argument,
            log=log,
            environment=clean_environment(),
            priority=member.priority,
        )
        self._remember(name, record)
        return begin

    def _wait_ready(self, member: Member, log_start: int | None, report: Callable[[str, str], None]) -> None:
        name = member.service
        report(name, "starting")
        deadline = time.monotonic() + READY_SECONDS
        record = self.process_record(name)
        while True:
            if record.process() is None:
                raise FleetError(str(failure(f"{name} ended while starting", self.log(name), log_start or 0)))
            state, detail = self._health(name)
            if state in {"ready", "degraded"}:
                report(name, "ready")
                return
            if time.monotonic() > deadline:
                problem = f"{name} was not ready within {READY_SECONDS:.0f} s ({detail})"
                raise FleetError(str(failure(problem, self.log(name), log_start or 0)))
            time.sleep(POLL_SECONDS)

    def _status(self, name: str, record: ProcessRecord) -> ServiceStatus:
        process = record.process()
        if process is None:
            return ServiceStatus(name, None, None, "stopped", "", None, self.log(name))
        state, detail = self._health(name)
        try:
            url: str | None = self.url(name)
        except LookupError:
            url = None
        return ServiceStatus(name, record.pid, url, state, detail, process.memory_info().rss, self.log(name))

    def _health(self, name: str) -> tuple[str, str]:
        try:
            answer = call("GET", f"{self.url(name)}/health/ready", timeout=2.0)
            content = answer.json()
        except (LookupError, httpx.HTTPError, ValueError) as error:
            return "starting", type(error).__name__
        problems = [
            f"{check['name']}: {check['detail']}" for check in content["checks"] if check["state"] != "ok"
        ]
        detail = "; ".join(problems)
        if answer.status_code != httpx.codes.OK:
            return "starting", detail
        return ("degraded" if problems else "ready"), detail

    # -- records

    def _records(self) -> dict[str, ProcessRecord]:
        return _records(self._records_file)

    def _remember(self, name: str, record: ProcessRecord) -> None:
        _save(self._records_file, self._records() | {name: record})

    def _forget(self, name: str) -> None:
        kept = {known: record for known, record in self._records().items() if known != name}
        _save(self._records_file, kept)

    def _stop_beside(self) -> None:
        for record in _records(self._beside_file).values():
            stop(record, [(signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)])
        self._beside_file.unlink(missing_ok=True)


def _records(file: Path) -> dict[str, ProcessRecord]:
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return {name: ProcessRecord(**fields) for name, fields in content.items()}


def _save(file: Path, records: dict[str, ProcessRecord]) -> None:
    fresh = file.with_suffix(".tmp")
    content = {name: asdict(record) for name, record in records.items()}
    fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
    fresh.replace(file)
