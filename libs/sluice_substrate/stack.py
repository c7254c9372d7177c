"""The local stack: real Kafka, PostgreSQL and schema registry as processes under one folder."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, assert_never, get_args

import psutil
from confluent_kafka.admin import AdminClient

from sluice_contracts.topics import PRINCIPALS
from sluice_substrate import (
    broker,
    downloads,
    guardian,
    ports,
    postgres,
    processes,
    record,
    registry,
    users,
    wiring_file,
)
from sluice_substrate.broker_config import BrokerPorts
from sluice_substrate.errors import NotRunning, PortLost, SubstrateError
from sluice_substrate.folders import Home
from sluice_substrate.processes import ProcessRecord
from sluice_substrate.record import ComponentRecord

Component = Literal["kafka", "postgres", "registry"]
COMPONENTS: tuple[Component, ...] = get_args(Component)
READER = "reader"
"""Principal that may read every event bus topic and nothing else."""

_PORT_TRIES = 5
_MARKS = {"kafka": broker.mark, "postgres": postgres.mark, "registry": registry.mark}
_PORTS = {"kafka": 2, "postgres": 1, "registry": 1}


@dataclass(frozen=True, slots=True)
class Progress:
    """What `up` is doing; `done` and `total` are bytes of a download, else None."""

    component: Component
    text: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """A component now; `port` is where clients connect, `rss_bytes` its resident memory with children."""

    name: Component
    running: bool
    port: int | None
    pid: int | None
    rss_bytes: int | None
    log: Path


@dataclass(frozen=True, slots=True)
class StackStatus:
    """The stack now; `started` are the components that this call started, `seconds` what it took."""

    home: Path
    wiring: Path
    components: tuple[ComponentStatus, ...]
    started: tuple[Component, ...] = ()
    seconds: float = 0.0

    @property
    def running(self) -> bool:
        """Whether every component that this home ever started is up."""
        return bool(self.components) and all(component.running for component in self.components)

    def component(self, name: Component) -> ComponentStatus:
        """One component. Raises KeyError when this home never started it."""
        return {component.name: component for component in self.components}[name]


class LocalStack:
    """One home folder's stack. Calls of several processes on one home wait for each other.

    Args:
        home: folder for everything but the download cache; made when missing.
        principals: SCRAM users beside those of the contracts.
        bound: the stack ends with this process, even when that is killed (for tests and demos);
            otherwise it runs on until `down`.
        temporary: a bound stack's home is deleted too when this process ends.
    """

    def __init__(
        self, home: Path, *, principals: Iterable[str] = (), bound: bool = False, temporary: bool = False
    ) -> None:
        self._home = Home(home.expanduser().resolve())
        self._principals = {*PRINCIPALS, READER, *principals}
        self._bound = bound
        self._temporary = temporary
        self._record_lock = threading.Lock()

    @property
    def home(self) -> Path:
        """The stack's folder, absolute."""
        return self._home.root

    @property
    def wiring_file(self) -> Path:
        """Wiring file for services; there after the first `up`."""
        return self._home.wiring

    def up(
        self,
        components: Sequence[Component] = COMPONENTS,
        progress: Callable[[Progress], None] | None = None,
    ) -> StackStatus:
        """Start what does not run yet, in parallel; a component that runs is left alone.

        Raises DownloadFailed or StartFailed; components that did start stay up.
        """
        begin = time.monotonic()
        report = progress or (lambda _: None)
        self._home.create()
        with self._exclusive():
            if self._bound:
                guardian.watch_this_process(self._home, remove=self._temporary)
            missing = [name for name in components if self._process(name) is None]
            with ThreadPoolExecutor(len(COMPONENTS)) as pool:
                futures = [pool.submit(self._start, name, report) for name in missing]
            errors = [error for future in futures if (error := future.exception()) is not None]
            if errors:
                raise errors[0]
        return replace(self.status(), started=tuple(missing), seconds=time.monotonic() - begin)

    def down(self) -> StackStatus:
        """Stop everything of this home, also leftovers that no record names. Data stays."""
        if self._home.root.exists():
            with self._exclusive(), ThreadPoolExecutor(len(COMPONENTS)) as pool:
                list(pool.map(self._stop, COMPONENTS))
        return self.status()

    def status(self) -> StackStatus:
        """What runs now; never starts, stops or waits for anything."""
        known = record.load(self._home.record).components
        found = [self._component_status(name, known[name]) for name in COMPONENTS if name in known]
        return StackStatus(self._home.root, self._home.wiring, tuple(found))

    def restart_broker(self) -> StackStatus:
        """Stop the broker cleanly and start it on the same port."""
        self.stop_broker()
        return self.start_broker()

    def stop_broker(self) -> None:
        """Stop the broker cleanly and leave it down."""
        with self._exclusive():
            self._stop("kafka")

    def start_broker(self) -> StackStatus:
        """Start the broker on the same port."""
        return self.up(("kafka",))

    def kill_broker(self) -> None:
        """SIGKILL the broker and leave it dead; `up` starts it again. Raises NotRunning."""
        process = self._process("kafka")
        if process is None:
            raise NotRunning(f"no broker of {self.home} is running")
        processes.stop(process, [(signal.SIGKILL, 10)])

    def stop_postgres(self) -> None:
        """Stop PostgreSQL; clients are cut off."""
        with self._exclusive():
            self._stop("postgres")

    def start_postgres(self) -> StackStatus:
        """Start PostgreSQL on the same port."""
        return self.up(("postgres",))

    def ensure_users(self, principals: Iterable[str]) -> list[str]:
        """Create SCRAM users (secret `kafka_<principal>`) on the running broker; returns the new ones."""
        return users.ensure_users(self.admin(), self._home.secrets, principals)

    def admin(self) -> AdminClient:
        """Client of the super user; keep it while its futures are pending. Raises NotRunning."""
        if self._process("kafka") is None:
            raise NotRunning(f"no broker of {self.home} is running: start it with up()")
        client_port = record.load(self._home.record).components["kafka"].ports[0]
        return AdminClient(users.admin_config(self._home.secrets, f"{ports.LOOPBACK}:{client_port}"))

    # -- one component

    def _start(self, name: Component, report: Callable[[Progress], None]) -> None:
        files: list[Path] = []
        if name != "postgres":
            files = downloads.fetch(
                name, lambda done, total: report(Progress(name, "downloading", done, total))
            )
        report(Progress(name, "starting"))
        known = record.load(self._home.record).components.get(name)
        for attempt in range(_PORT_TRIES):
            wishes = known.ports if known is not None and attempt == 0 else (None,) * _PORTS[name]
            chosen = tuple(ports.choose(wishes))
            try:
                process = self._launch(name, files, chosen)
            except PortLost:
                if attempt == _PORT_TRIES - 1:
                    raise
                continue
            self._note(name, ComponentRecord(chosen, process))
            break
        if name == "kafka":
            self.ensure_users(self._principals)
        report(Progress(name, "ready"))

    def _launch(self, name: Component, files: list[Path], chosen: tuple[int, ...]) -> ProcessRecord:
        match name:
            case "kafka":
                return broker.start(self._home, files, BrokerPorts(*chosen), self._principals)
            case "postgres":
                return postgres.start(self._home, chosen[0])
            case "registry":
                return registry.start(self._home, files[0], chosen[0])
            case _:
                assert_never(name)

    def _stop(self, name: Component) -> None:
        stoppers = {"kafka": broker.stop, "postgres": postgres.stop, "registry": registry.stop}
        for process in self._processes(name):
            if not stoppers[name](process):
                raise SubstrateError(f"{name} (pid {process.pid}) does not end, not even killed")
        known = record.load(self._home.record).components.get(name)
        if known is not None:
            self._note(name, replace(known, process=None))

    def _process(self, name: Component) -> ProcessRecord | None:
        found = self._processes(name)
        return found[0] if found else None

    def _processes(self, name: Component) -> list[ProcessRecord]:
        """The recorded process, or whatever carries this home's mark when the record is stale."""
        known = record.load(self._home.record).components.get(name)
        if known is not None and known.process is not None and known.process.process() is not None:
            return [known.process]
        found = processes.find_marked(_MARKS[name](self._home))
        # A leftover that no record names has ports that we do not know: it is stopped, not adopted.
        for stray in found:
            processes.stop(stray, [(signal.SIGTERM, 5), (signal.SIGKILL, 5)])
        return []

    def _note(self, name: Component, component: ComponentRecord) -> None:
        with self._record_lock:
            current = record.load(self._home.record)
            current.components[name] = component
            record.save(self._home.record, current)
            wiring_file.write_wiring(self._home, current)

    def _component_status(self, name: Component, known: ComponentRecord) -> ComponentStatus:
        process = known.process.process() if known.process is not None else None
        return ComponentStatus(
            name=name,
            running=process is not None,
            port=known.ports[0],
            pid=process.pid if process is not None else None,
            rss_bytes=_resident(process) if process is not None else None,
            log=self._home.log(name),
        )

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One starter or stopper a home at a time; the kernel drops the lock of a killed one."""
        descriptor = os.open(self._home.root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _resident(process: psutil.Process) -> int | None:
    try:
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family)
    except psutil.Error:
        return None
