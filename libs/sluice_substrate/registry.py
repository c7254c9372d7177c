"""Apicurio, a schema registry that speaks the Confluent API; its schemas live in memory only."""

import http.client
import signal
from pathlib import Path

from sluice_substrate import downloads, processes
from sluice_substrate.errors import StartFailed
from sluice_substrate.folders import Home
from sluice_substrate.java import java
from sluice_substrate.ports import LOOPBACK
from sluice_substrate.processes import ProcessRecord

NAME = "registry"
HEAP_MIB = 256
START_HEAP_MIB = 64
_START_SECONDS = 90
_API = "/apis/ccompat/v7"


def url(port: int) -> str:
    """Base of the Confluent-compatible API."""
    return f"http://{LOOPBACK}:{port}{_API}"


def mark(home: Home) -> str:
    """Argument by which this home's registry is recognised."""
    return f"-Dsluice.registry={home.root}"


def start(home: Home, archive: Path, port: int) -> ProcessRecord:
    """Start the registry and wait until it answers. Raises StartFailed (PortLost)."""
    folder = downloads.unpacked(archive)
    runner = next(folder.glob("*-runner.jar"), None)
    if runner is None:
        raise StartFailed(f"{folder} holds no registry program: delete it and start again")
    arguments = [
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        f"-Dquarkus.http.host={LOOPBACK}",
        f"-Dquarkus.http.port={port}",
        "-Dquarkus.log.level=WARN",
        "-Dquarkus.log.console.color=false",
        "-jar",
        str(runner),
    ]
    command = java(mark=mark(home), arguments=arguments, heap_mib=HEAP_MIB, start_heap_mib=START_HEAP_MIB)
    return processes.start(
        command,
        lambda: answers(port),
        name="the schema registry",
        seconds=_START_SECONDS,
        mark=mark(home),
        log=home.log(NAME),
        environment=processes.clean_environment(),
    )


def stop(record: ProcessRecord) -> bool:
    """Stop politely; killed after 5 s (there is nothing to lose: storage is in memory)."""
    return processes.stop(record, [(signal.SIGTERM, 5), (signal.SIGKILL, 5)])


def answers(port: int) -> bool:
    """Whether the Confluent API answers."""
    try:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
        try:
            connection.request("GET", f"{_API}/subjects")
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False
